//! Owns a run from its flags to its outcome. Invariant: what the load says it wrote is held against
//! what the store says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use measure::failures::WRONG;
use measure::outcome::FORMAT;
use measure::{Outcome, SeriesOutcome};

use crate::flags::Common;
use crate::load::{Load, compactor};
use crate::net::{Scheme, resolve};
use crate::run::{Counted, Crew, Job, Tally, User, Watched, machine};

/// Runs a load once.
pub fn run(common: &Common, load: &Load, command: String) -> Result<Outcome, String> {
    load.check()?;
    let crew = crew(common)?;
    let machine = machine();
    let begun_unix_s =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let checks = !load.writes().is_empty();
    let before = if checks { revision(&crew)? } else { 0 };
    let mut tally = crew.run(job(common, load))?;
    if checks {
        check_writes(&mut tally, load, revision(&crew)? - before);
    }
    Ok(Outcome {
        format: FORMAT,
        label: common.label.clone().unwrap_or_else(|| common.endpoints.join(",")),
        command,
        version: env!("CARGO_PKG_VERSION").to_string(),
        begun_unix_s,
        machine,
        endpoints: common.endpoints.clone(),
        conns: crew.conns,
        clients: crew.clients,
        series: tally.series.iter().map(|(name, one)| SeriesOutcome::of(name, one)).collect(),
        servers: tally.servers,
        loader: tally.loader,
        notes: tally.notes,
    })
}

fn job(common: &Common, load: &Load) -> Arc<Job> {
    let shared = Arc::new((common.clone(), load.clone()));
    Arc::new(move |seat| {
        let shared = shared.clone();
        Box::pin(async move { shared.1.work(&shared.0, seat).await })
    })
}

fn crew(common: &Common) -> Result<Crew, String> {
    let targets = common.endpoints.iter().map(|endpoint| resolve(endpoint));
    let targets = targets.collect::<Result<Vec<_>, String>>()?;
    let mut watched: Vec<Watched> = common.pid.iter().map(|pid| Watched::Pid(*pid)).collect();
    if common.metrics {
        watched.extend(targets.iter().map(|target| Watched::Metrics(target.authority.clone())));
    }
    let is_https = targets.iter().any(|target| target.scheme == Scheme::Https);
    let trust = match common.trust.is_given() || is_https {
        true => Some(common.trust.config()?),
        false => None,
    };
    if trust.is_some() && common.metrics {
        return Err("--metrics asks in the clear, which servers with TLS refuse: use --pid".into());
    }
    let user = match &common.user {
        None => None,
        Some(text) => {
            let (name, password) = text
                .split_once(':')
                .ok_or("--user needs the password too: --user name:password")?;
            Some(User { name: name.to_string(), password: password.to_string() })
        }
    };
    Ok(Crew {
        targets,
        user,
        // More connections than clients would stay idle.
        conns: common.conns.min(common.clients) as usize,
        clients: common.clients as usize,
        cores: common.cores as usize,
        cpus: common.cpus.clone(),
        spin: common.spin,
        seed: common.seed,
        trust,
        dial_patience: common.dial_timeout,
        patience: common.timeout,
        watched,
    })
}

/// The store's revision, asked with one client.
fn revision(crew: &Crew) -> Result<i64, String> {
    let found = Arc::new(AtomicI64::new(0));
    let told = found.clone();
    let job: Arc<Job> = Arc::new(move |seat| {
        let told = told.clone();
        Box::pin(async move {
            let link = &seat.clients[0].link;
            let revision = compactor::revision(link).await;
            let revision = revision.map_err(|status| {
                format!("endpoint {}: {}", seat.targets[0].authority, status.message)
            })?;
            told.store(revision, Ordering::Relaxed);
            Ok(Counted::default())
        })
    });
    let one = Crew { conns: 1, clients: 1, cores: 1, watched: Vec::new(), ..crew.clone() };
    one.run(job)?;
    Ok(found.load(Ordering::Relaxed))
}

fn check_writes(tally: &mut Tally, load: &Load, rose: i64) {
    let is_write = |name: &String| load.writes().contains(&name.as_str());
    let writes = tally.series.iter().filter(|(name, _)| is_write(name));
    let acknowledged: u64 = writes.map(|(_, series)| series.latency.count()).sum();
    if rose < acknowledged as i64
        && let Some((_, series)) = tally.series.iter_mut().find(|(name, _)| is_write(name))
    {
        let text = format!("{acknowledged} writes acknowledged, and the revision rose by {rose}");
        series.failed(series.last_ns, WRONG, &text);
    }
}
