//! Owns etcd's questions about going back to an older version: whether the cluster may, that it
//! should, and that it should not any more.
//! Lowers no version itself (`versions.rs`). Invariant: what is asked for is exactly one minor
//! version below the cluster's.

use base::Instant;
use bytes::Bytes;
use state::{Command, Kind};
use wire::peer::Version;
use wire::{ApiError, etcdserverpb as pb};

use super::Leader;
use crate::message::{Answer, CallRef};
use crate::versions::is_one_below;

impl Leader {
    /// Answers at once, or puts the wish into the log, where its call waits for it.
    pub(super) fn downgrade(
        &mut self,
        now: Instant,
        call: CallRef,
        request: &pb::DowngradeRequest,
    ) -> Option<Answer> {
        use pb::downgrade_request::DowngradeAction;
        let wish = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => self.may_go_to(&request.version).map(|_| None),
            Ok(DowngradeAction::Enable) => self.may_go_to(&request.version).map(Some),
            Ok(DowngradeAction::Cancel) => match self.sequencer.downgrade_target() {
                Some(_) => Ok(Some(String::new())),
                None => Err(ApiError::NoInflightDowngrade),
            },
            Err(_) => Err(ApiError::Unknown("etcdserver: unknown method".to_owned())),
        };
        match wish {
            Err(error) => Some(Answer::Failed(error)),
            Ok(None) => Some(self.version_answer()),
            Ok(Some(target)) => {
                let (kind, body) = (Kind::DowngradeTarget, Bytes::from(target));
                let member = self.config.member_id;
                self.proposals.push(Some((call, now)), member, |origin| Command {
                    kind,
                    origin,
                    body,
                });
                None
            }
        }
    }

    /// The answer to a wish that is in the log by now.
    pub(super) fn version_answer(&self) -> Answer {
        Answer::Downgrade(self.sequencer.cluster_version().unwrap_or_default().to_owned())
    }

    /// The target as `major.minor.0`, if the cluster may go there.
    fn may_go_to(&self, version: &str) -> Result<String, ApiError> {
        let target = parse(version).ok_or(ApiError::DowngradeVersionFormat)?;
        let cluster = self.standing().cluster.ok_or(ApiError::ClusterVersionUnavailable)?;
        if !is_one_below(target, cluster) {
            return Err(ApiError::DowngradeVersionInvalid);
        }
        match self.sequencer.downgrade_target() {
            Some(_) => Err(ApiError::DowngradeInProgress),
            None => Ok(target.to_string()),
        }
    }
}

/// Major and minor of `3.6` or `3.6.1`.
fn parse(version: &str) -> Option<Version> {
    let parts: Vec<u16> =
        version.split('.').map(str::parse).collect::<Result<Vec<u16>, _>>().ok()?;
    match parts[..] {
        [major, minor] | [major, minor, _] => Some(Version { major, minor, patch: 0 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_two_or_three_numbers() {
        assert_eq!(parse("3.6"), Some(Version { major: 3, minor: 6, patch: 0 }));
        assert_eq!(parse("3.6.1"), Some(Version { major: 3, minor: 6, patch: 0 }));
        for bad in ["", "3", "3.", "3.6.", "3.6.1.0", "v3.6", "3.x", "-3.6"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
