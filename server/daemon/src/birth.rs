//! Owns the question who this member is: what the data directory says, else what the flags say,
//! else what the cluster says that it is to join.
//! Runs before any executor. Invariant: a directory that was used before decides alone.

use std::path::Path;
use std::time::Duration;

use base::FileId;
use disk::DataDir;
use node::Founding;
use node::shard::Partition;
use settings::cluster::Founding as Founders;
use settings::join::{self, Running, Vote};
use settings::{ClusterState, Settings, Url};
use state::{Member, MemberRole};
use wire::peer::Version;

use crate::ask::{self, Tell};
use crate::config::{self, CLUSTER_VERSION_MIN, Identity, VERSION};

/// How long one member may take to answer whoever wants to join (etcd).
const JOIN_WAIT: Duration = Duration::from_secs(10);
/// How long one member may take to say whether we are new (etcd's bootstrap timeout).
const NEW_WAIT: Duration = Duration::from_secs(1);

/// Who the member is, and what a new directory becomes part of.
pub struct Birth {
    /// Who.
    pub who: Identity,
    /// Of what.
    pub founding: Founding,
}

/// Finds out, or says in etcd's words why it cannot be found out.
pub fn of(settings: &Settings, dir: &DataDir, shards: u16) -> Result<Birth, String> {
    let manifest = dir.path(FileId::Manifest);
    if let Some(known) = config::known(Path::new(&manifest), shards) {
        journal::info!("server has already been initialized",
            "data-dir" => settings.data_dir.as_str());
        let founding = match known.knows_members {
            true => Founding::New(Vec::new()),
            false => Founding::Existing(joining_again(settings, &known.who)),
        };
        return Ok(Birth { who: known.who, founding });
    }
    let (founders, founding) = match settings.cluster.state {
        ClusterState::New => found(settings)?,
        ClusterState::Existing => joining(settings)?,
    };
    let who = Identity {
        cluster_id: founders.cluster_id,
        member_id: founders.local_id,
        partition: Partition::new(settings.cores.slices, shards),
    };
    Ok(Birth { who, founding })
}

/// What the flags say, without anybody else's word.
fn founders(settings: &Settings) -> Result<Founders, String> {
    settings.founding().map_err(|stop| {
        let texts = stop.notices.iter().flat_map(|notice| &notice.fields);
        let text = texts.map(|(_, value)| match value {
            settings::Field::Text(text) => text.clone(),
            other => format!("{other:?}"),
        });
        text.into_iter().next().unwrap_or(stop.stderr)
    })
}

fn found(settings: &Settings) -> Result<(Founders, Founding), String> {
    let founders = founders(settings)?;
    if let Ok(running) = ask::cluster(&others(&founders), NEW_WAIT, Tell::Nothing) {
        check_unused(&running, founders.local_id)?;
    }
    let members = founders.members.iter().map(|member| Member {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.iter().map(Url::to_string).collect(),
        client_urls: Vec::new(),
        role: MemberRole::Voter,
    });
    let founding = Founding::New(members.collect());
    Ok((founders, founding))
}

fn joining(settings: &Settings) -> Result<(Founders, Founding), String> {
    let expected = founders(settings)?;
    let running = ask::cluster(&others(&expected), JOIN_WAIT, Tell::Failures)
        .map_err(|why| format!("cannot fetch cluster info from peer urls: {why}"))?;
    let founders = join::join(expected, &running).map_err(|error| error.to_string())?;
    // etcd starts such a member under its old identifier, and panics when it is told of entries
    // that it has acknowledged before. It may even have forgotten a vote.
    check_unused(&running, founders.local_id)?;
    if !is_compatible(&founders) {
        return Err("incompatible with current running cluster".to_owned());
    }
    let founding = Founding::Existing(members_of(running));
    Ok((founders, founding))
}

/// A member that was to join and has not heard from its cluster since: whom it was told of then is
/// in its data. It need not be so any more, so whoever the flags name is asked again, in vain if
/// need be.
fn joining_again(settings: &Settings, who: &Identity) -> Vec<Member> {
    let Ok(expected) = settings.founding() else { return Vec::new() };
    match ask::cluster(&others(&expected), NEW_WAIT, Tell::Nothing) {
        Ok(running) if is_of(&running, who) => members_of(running),
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn is_of(running: &Running, who: &Identity) -> bool {
    let listed = running.members.iter().any(|member| member.id == who.member_id);
    listed && running.cluster_id == who.cluster_id
}

/// A member that has served once had data. If it has none now, it must not go on as the same one:
/// remove it, and add it again.
fn check_unused(running: &Running, id: u64) -> Result<(), String> {
    let mut own = running.members.iter().filter(|member| member.id == id);
    match own.any(|member| !member.client_urls.is_empty()) {
        true => Err(format!("member {id:x} has already been bootstrapped")),
        false => Ok(()),
    }
}

fn members_of(running: Running) -> Vec<Member> {
    let members = running.members.into_iter().map(|member| Member {
        id: member.id,
        name: member.name,
        peer_urls: member.peer_urls,
        client_urls: member.client_urls,
        role: match member.vote {
            Vote::Voter => MemberRole::Voter,
            Vote::Learner => MemberRole::Learner,
        },
    });
    members.collect()
}

/// Everybody's peer URLs but ours, sorted.
fn others(founders: &Founders) -> Vec<Url> {
    let others = founders.members.iter().filter(|member| member.id != founders.local_id);
    let mut urls: Vec<Url> = others.flat_map(|member| member.peer_urls.clone()).collect();
    urls.sort_by_key(Url::to_string);
    urls
}

/// Whether a version of the cluster is known and fits, by all members that say one.
fn is_compatible(founders: &Founders) -> bool {
    let (least, most) = (config::version(CLUSTER_VERSION_MIN), config::version(VERSION));
    let mut known = false;
    for member in founders.members.iter().filter(|member| member.id != founders.local_id) {
        let said = member.peer_urls.iter().find_map(|url| ask::cluster_version(url, JOIN_WAIT));
        let Some(said) = said.as_deref().and_then(Version::parse) else { continue };
        if said < least || most < said {
            journal::warn!("cluster version of remote member is not compatible",
                "remote-member-id" => format!("{:x}", member.id),
                "remote-member-cluster-version" => said.to_string(),
                "minimum-cluster-version-supported" => least.to_string());
            return false;
        }
        known = true;
    }
    known
}
