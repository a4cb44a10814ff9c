//! Owns the law of equal states: members that have come to the same revision hold the same, and
//! what the model holds there.
//! Invariant: every member is looked at.

use bytes::Bytes;
use ringleader_model::{Model, Request, Response};
use ringleader_sim::ops::everything;
use wire::etcdserverpb as pb;

use crate::world::Wrong;

/// What one member said of itself when all was quiet.
#[derive(Debug)]
pub struct State {
    /// Which.
    pub member: u64,
    /// Everything, now and at older revisions.
    pub ranges: Vec<(pb::RangeRequest, pb::RangeResponse)>,
    /// Its hash of the last revision.
    pub hash: pb::HashKvResponse,
}

/// What is asked of a member whose last revision should be `last`.
pub fn questions(last: i64, older: &[i64]) -> Vec<pb::RangeRequest> {
    let mut asked = vec![everything(0)];
    asked.extend(older.iter().filter(|revision| **revision < last).map(|at| everything(*at)));
    asked
}

/// Compares all members with the model and with each other.
pub fn judge(model: &mut Model, states: &[State]) -> Result<(), Wrong> {
    for state in states {
        for (request, got) in &state.ranges {
            let want = match model.execute(&Request::Range(request.clone())) {
                Ok(Response::Range(want)) => want,
                other => return Err(format!("states: the model has no {request:?}: {other:?}")),
            };
            let revision = |reply: &pb::RangeResponse| {
                reply.header.as_ref().map_or(0, |header| header.revision)
            };
            if (revision(&want), want.count, &want.kvs) != (revision(got), got.count, &got.kvs) {
                let keys = |reply: &pb::RangeResponse| -> Vec<(Bytes, i64)> {
                    reply.kvs.iter().map(|pair| (pair.key.clone(), pair.mod_revision)).collect()
                };
                return Err(format!(
                    "states: at {} member {} holds {:?} at {}, it should be {:?} at {}",
                    request.revision,
                    state.member,
                    keys(got),
                    revision(got),
                    keys(&want),
                    revision(&want)
                ));
            }
        }
        let same = |other: &&State| {
            other.hash.hash == state.hash.hash
                || other.hash.compact_revision != state.hash.compact_revision
        };
        if let Some(other) = states.iter().find(|other| !same(other)) {
            return Err(format!("states: hashes differ: {:?} and {:?}", state.hash, other.hash));
        }
    }
    Ok(())
}
