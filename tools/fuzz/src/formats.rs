//! Owns the targets of formats on disk and in the log, as far as their decoders are public.
//! Never touches a file. Law: no bytes make a decoder panic, and what it accepts it writes again as
//! it was.

use base::{IoRequest, IoResult, Prng};
use bytes::Bytes;
use node::manifest::{Manifest, SLOT_BYTES};
use slice::SliceRoot;
use state::{
    CheckpointPolicy, Command, CommandBatch, Kind, Member, MemberAttributes, MemberChange,
    MemberRole, Origin, Sequencer, SequencerOptions,
};
use wal::{Backlog, Geometry, Identity, Reader, ReaderConfig, Record, Step, Urgency, Writer};

use crate::mutate::mutate;

const IDENTITY: Identity = Identity { cluster: 7, member: 11 };
const SEGMENT_BYTES: u64 = 128 << 10;

fn batch(dice: &mut Prng) -> CommandBatch {
    let kinds = [
        Kind::Put,
        Kind::DeleteRange,
        Kind::Txn,
        Kind::Compact,
        Kind::LeaseGrant,
        Kind::LeaseRevoke,
        Kind::Alarm,
    ];
    let origin = |sequence| Origin { member: 11, sequence };
    let mut commands: Vec<Command> = (0..dice.below(4))
        .map(|number| Command {
            kind: *dice.pick(&kinds),
            origin: origin(number),
            body: Bytes::from(crate::words::message(dice)),
        })
        .collect();
    commands.push(Command::leases_expired(origin(8), &[1, -5]));
    let attributes =
        MemberAttributes { id: 11, name: "n".to_owned(), client_urls: vec!["u".to_owned()] };
    commands.push(Command::member_attributes(origin(9), &attributes));
    commands.push(Command::cluster_version(origin(10), "3.7.0"));
    CommandBatch { commands }
}

/// One log entry's commands, and their bodies.
pub fn command_batch(dice: &mut Prng) -> Vec<u8> {
    let sample = batch(dice);
    assert_eq!(CommandBatch::decode(&sample.encode()), Ok(sample.clone()));
    mutate(dice, &sample.encode())
}

/// Decodes it.
pub fn try_command_batch(bytes: &Bytes) {
    if let Ok(batch) = CommandBatch::decode(bytes) {
        assert_eq!(batch.encode(), bytes, "what is read is written the same");
        for command in &batch.commands {
            let _ = command.request();
        }
    }
}

/// The two slots of a manifest.
pub fn manifest(dice: &mut Prng) -> Vec<u8> {
    let sample = Manifest {
        generation: dice.below(9),
        cluster_id: 7,
        member_id: 11,
        applied_index: dice.next_u64(),
        applied_term: 1,
        revision: 5,
        compact_revision: -1,
        log_first: 1,
        log_position: 9,
        voters: vec![11],
        learners: vec![],
        roots: (0..dice.below(4)).map(|_| Bytes::from(vec![7; 160])).collect(),
    };
    let slot = sample.encode();
    let used = 92 + 14 + 164 * sample.roots.len();
    let mut bytes = mutate(dice, &slot[..used]);
    if dice.chance(700) && bytes.len() > 92 {
        // A right checksum, so that what lies behind it is met too.
        bytes[88..92].fill(0);
        let length = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
        let end = (92 + length as usize).min(bytes.len());
        let sum = base::checksum::checksum(&bytes[..end]);
        bytes[88..92].copy_from_slice(&sum.to_le_bytes());
    }
    bytes.resize(SLOT_BYTES, 0);
    bytes.extend_from_slice(&slot);
    bytes
}

/// Decodes it.
pub fn try_manifest(bytes: &Bytes) {
    if let Ok(manifest) = Manifest::choose(bytes) {
        let again = Manifest { generation: 0, ..manifest };
        let mut file = again.encode().to_vec();
        file.resize(2 * SLOT_BYTES, 0);
        assert_eq!(Manifest::choose(&Bytes::from(file)), Ok(again));
    }
}

/// A slice's root.
pub fn slice_root(dice: &mut Prng) -> Vec<u8> {
    let mut sample = vec![0; SliceRoot::BYTES];
    sample[2] = 1;
    sample[4] = dice.below(2) as u8;
    if dice.chance(500) {
        let at = 24 + dice.below(SliceRoot::BYTES as u64 - 24) as usize;
        dice.fill(&mut sample[at..]);
    }
    mutate(dice, &sample)
}

/// Decodes it.
pub fn try_slice_root(bytes: &Bytes) {
    // Fields that an empty tree does not use are not kept, so bytes need not be the same.
    if let Ok(root) = SliceRoot::decode(bytes) {
        assert_eq!(SliceRoot::decode(&root.encode()), Ok(root), "what is written is read the same");
    }
}

/// A key and a value of the meta slice, joined by their lengths.
pub fn meta_fact(dice: &mut Prng) -> Vec<u8> {
    let tag = *dice.pick(b"aclmrx");
    let mut key = vec![tag];
    key.extend_from_slice(&dice.next_u64().to_be_bytes());
    let mut value = vec![1];
    value.extend_from_slice(&dice.below(9).to_le_bytes());
    value.extend_from_slice(&dice.below(9).to_le_bytes());
    let (key, value) = (mutate(dice, &key), mutate(dice, &value));
    let mut bytes = vec![key.len().min(255) as u8];
    bytes.extend(key);
    bytes.extend(value);
    bytes
}

/// Decodes it.
pub fn try_meta_fact(bytes: &Bytes) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let options = SequencerOptions { hash_seed: 1, lease_checkpoints: CheckpointPolicy::Off };
    let _ = Sequencer::new(options).restore_meta(key, value);
}

/// A change of the members.
pub fn member_change(dice: &mut Prng) -> Vec<u8> {
    let member = Member {
        id: dice.next_u64(),
        name: "name".to_owned(),
        peer_urls: vec!["http://localhost:2380".to_owned()],
        client_urls: vec![],
        role: MemberRole::Learner,
    };
    let change = match dice.below(4) {
        0 => MemberChange::Add(member),
        1 => MemberChange::Remove(member.id),
        2 => MemberChange::Promote(member.id),
        _ => MemberChange::UpdatePeerUrls { id: member.id, peer_urls: member.peer_urls },
    };
    assert_eq!(MemberChange::decode(&change.encode()), Ok(change.clone()));
    mutate(dice, &change.encode())
}

/// Decodes it.
pub fn try_member_change(bytes: &Bytes) {
    if let Ok(change) = MemberChange::decode(bytes) {
        assert_eq!(change.encode(), bytes, "what is read is written the same");
    }
}

/// A log segment with some batches.
pub fn log(dice: &mut Prng) -> Vec<u8> {
    let mut config = wal::WriterConfig::standard(IDENTITY);
    config.geometry = Geometry::of(SEGMENT_BYTES);
    config.entry_bytes_max = 8 << 10;
    config.batch_bytes = 16 << 10;
    config.batch_backlog_bytes = 16 << 10;
    let mut writer = Writer::create(config);
    let mut file = vec![0; SEGMENT_BYTES as usize];
    for index in 1..2 + dice.below(12) {
        let data = Bytes::from(vec![index as u8; dice.below(6000) as usize]);
        let entry = wal::Entry { term: 1, index, kind: wal::EntryKind::Normal, data };
        writer.append(Record::Entry(entry), Urgency::Wait);
        while let Some(IoRequest::Prepare { file: base::FileId::Log(number), .. }) =
            writer.poll_upkeep()
        {
            writer.prepared(number);
        }
        while let Some(flush) = writer.poll_flush(Backlog::Short) {
            let at = flush.offset as usize;
            file[at..at + flush.bytes.len()].copy_from_slice(&flush.bytes);
            writer.flushed(flush.ticket);
        }
    }
    let end = (file.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)).max(4096);
    let mut bytes = mutate(dice, &file[..end]);
    bytes.resize(SEGMENT_BYTES as usize, 0);
    bytes
}

/// Reads it to its end.
pub fn try_log(bytes: &Bytes) {
    let mut reader = Reader::new(ReaderConfig {
        identity: IDENTITY,
        geometry: Geometry::of(SEGMENT_BYTES),
        segments: vec![1],
        promised: wal::Position(0),
    });
    let mut last = 0;
    loop {
        match reader.poll() {
            Step::Io(IoRequest::Read { offset, len, .. }) => {
                let from = (offset as usize).min(bytes.len());
                let mut read = bytes[from..(from + len as usize).min(bytes.len())].to_vec();
                read.resize(len as usize, 0);
                reader.handle(IoResult::Read(Bytes::from(read)));
            }
            Step::Io(_) => reader.handle(IoResult::Done),
            Step::Record(Record::Entry(entry)) => {
                assert_eq!(entry.index, last + 1, "only what was written comes back, in order");
                assert!(entry.data.iter().all(|byte| *byte == entry.index as u8));
                last = entry.index;
            }
            Step::Record(Record::HardState(_) | Record::Mark(_) | Record::Past(_)) => {}
            Step::Waiting => panic!("every request was answered"),
            Step::Done(_) => return,
        }
    }
}
