//! Owns feature gates: their names, stages and defaults, and which of them this build can switch.
//! Never reads a flag itself. Invariant: a set of gates holds only known names.

use std::collections::BTreeMap;

use crate::value::go_bool;

/// How settled a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Off by default.
    Alpha,
    /// On by default.
    Beta,
}

impl Stage {
    /// The word that metrics use.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Alpha => "ALPHA",
            Stage::Beta => "BETA",
        }
    }
}

/// One gate.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// Its stage.
    pub stage: Stage,
    /// What an unusual value means here.
    pub unusual: Unusual,
}

impl Gate {
    /// Its value when nobody says otherwise.
    pub fn default(&self) -> bool {
        match self.stage {
            Stage::Alpha => false,
            Stage::Beta => true,
        }
    }
}

/// What happens when a gate is switched away from its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusual {
    /// It does what it says.
    Works,
    /// This build cannot: the start stops.
    NotYet,
    /// Nothing corresponds to it: a warning.
    NoMeaning(&'static str),
}

const SHARED: &str = "transactions are never copied before they are read";

/// Every gate, in the order of metrics.
pub const GATES: &[Gate] = &[
    gate("CompactHashCheck", Stage::Alpha, Unusual::Works),
    gate("FastLeaseKeepAlive", Stage::Beta, Unusual::NoMeaning("keep-alives are always fast")),
    gate("InitialCorruptCheck", Stage::Alpha, Unusual::Works),
    gate("LeaseCheckpoint", Stage::Alpha, Unusual::NotYet),
    gate("LeaseCheckpointPersist", Stage::Alpha, Unusual::NotYet),
    gate("PriorityRequest", Stage::Alpha, Unusual::NotYet),
    gate("SetMemberLocalAddr", Stage::Alpha, Unusual::NotYet),
    gate(
        "StopGRPCServiceOnDefrag",
        Stage::Alpha,
        Unusual::NoMeaning("defragmentation does not stop the service"),
    ),
    gate("TxnModeWriteWithSharedBuffer", Stage::Beta, Unusual::NoMeaning(SHARED)),
];

const fn gate(name: &'static str, stage: Stage, unusual: Unusual) -> Gate {
    Gate { name, stage, unusual }
}

/// Switches of whole stages.
const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

/// The gates that somebody switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    said: BTreeMap<String, bool>,
}

impl Gates {
    /// Nothing switched.
    pub fn none() -> Gates {
        Gates { said: BTreeMap::new() }
    }

    /// Reads `Name=true,Other=false`, or answers what is wrong.
    pub fn parse(text: &str) -> Result<Gates, String> {
        let mut gates = Gates::none();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), value.trim()),
                None => return Err(format!("missing bool value for {part}")),
            };
            let Some(value) = go_bool(value) else {
                let why = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
                return Err(format!("invalid value of {name}={value}, err: {why}"));
            };
            gates.set(name, value)?;
        }
        Ok(gates)
    }

    /// Switches one gate.
    pub(crate) fn set(&mut self, name: &str, on: bool) -> Result<(), String> {
        let known = GATES.iter().any(|gate| gate.name == name);
        if !known && name != ALL_ALPHA && name != ALL_BETA {
            return Err(format!("unrecognized feature gate: {name}"));
        }
        self.said.insert(name.into(), on);
        Ok(())
    }

    /// Whether somebody switched this gate by its name.
    pub fn names(&self, name: &str) -> bool {
        self.said.contains_key(name)
    }

    /// Whether the gate is on.
    pub fn is_on(&self, gate: &Gate) -> bool {
        if let Some(on) = self.said.get(gate.name) {
            return *on;
        }
        let stage = match gate.stage {
            Stage::Alpha => ALL_ALPHA,
            Stage::Beta => ALL_BETA,
        };
        self.said.get(stage).copied().unwrap_or(gate.default())
    }

    /// Whether the gate of this name is on; it must be one of ours.
    pub fn has(&self, name: &str) -> bool {
        let gate = GATES.iter().find(|gate| gate.name == name).expect("a gate of ours");
        self.is_on(gate)
    }

    /// Name, stage and value of every gate.
    pub fn all(&self) -> impl Iterator<Item = (&'static Gate, bool)> + '_ {
        GATES.iter().map(|gate| (gate, self.is_on(gate)))
    }

    /// etcd's rule about gates that need each other.
    pub fn check(&self) -> Result<(), String> {
        let on = |name: &str| self.all().any(|(gate, on)| gate.name == name && on);
        if on("LeaseCheckpointPersist") && !on("LeaseCheckpoint") {
            let (gate, needs) = ("LeaseCheckpointPersist", "LeaseCheckpoint");
            return Err(format!(
                "enabling feature gate {gate} requires enabling feature gate {needs}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_on(gates: &Gates, name: &str) -> bool {
        gates.all().any(|(gate, on)| gate.name == name && on)
    }

    #[test]
    fn a_stage_switches_the_gates_that_nobody_named() {
        let gates = Gates::parse("AllAlpha=true, InitialCorruptCheck=false").unwrap();
        assert!(is_on(&gates, "LeaseCheckpoint"));
        assert!(!is_on(&gates, "InitialCorruptCheck"));
        assert!(is_on(&Gates::none(), "FastLeaseKeepAlive"));
        assert!(!is_on(&Gates::parse("AllBeta=false").unwrap(), "FastLeaseKeepAlive"));
    }

    #[test]
    fn bad_gates_are_answered_with_etcds_sentences() {
        let table = [
            ("Nope=true", "unrecognized feature gate: Nope"),
            ("LeaseCheckpoint", "missing bool value for LeaseCheckpoint"),
            (
                "LeaseCheckpoint=zz",
                "invalid value of LeaseCheckpoint=zz, err: strconv.ParseBool: parsing \"zz\": \
                 invalid syntax",
            ),
        ];
        for (text, error) in table {
            assert_eq!(Gates::parse(text), Err(error.to_string()));
        }
        let alone = Gates::parse("LeaseCheckpointPersist=true").unwrap();
        assert_eq!(
            alone.check(),
            Err("enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                 LeaseCheckpoint"
                .to_string())
        );
    }
}
