//! Owns the targets that need a whole member: requests for every method, and damaged disks.
//! Law: a member of pure machines never panics, answers every call, and never answers wrong from a
//! disk that lost what was acknowledged: it says that it is broken.

use base::{IoRequest, Prng};
use bytes::Bytes;
use node::shard::Partition;
use node::{ShardEvent, ShardId};
use prost::Message;
use ringleader_model::Generator;
use ringleader_twin::disk::MemoryDisk;
use ringleader_twin::member::{Heard, Member, Shape};
use ringleader_twin::rpc;
use wire::method::Kind;
use wire::{Method, etcdserverpb as pb};

use crate::words;

const SHAPE: Shape = Shape { partition: Partition::new(2, 2), checkpoint_log_bytes: 2 << 10 };
/// Commands that fill the member whose disk is then damaged.
const COMMANDS: usize = 300;

/// A method by its number, and a request.
pub fn request(dice: &mut Prng) -> Vec<u8> {
    let mut bytes = vec![dice.below(Method::ALL.len() as u64) as u8];
    bytes.extend(words::protobuf(dice));
    bytes
}

/// A member that serves requests.
pub struct Server {
    member: Member,
}

impl Server {
    /// An empty one.
    pub fn new() -> Server {
        Server { member: Member::new(SHAPE, 1) }
    }

    /// Sends the request: an answer must come, or, on a stream, none may need one.
    pub fn try_request(&mut self, bytes: &Bytes) {
        let Some((method, message)) = bytes.split_first() else { return };
        let method = Method::ALL[usize::from(*method) % Method::ALL.len()];
        let message = bytes.slice_ref(message);
        let member = &mut self.member;
        match method.kind() {
            Kind::Unary => {
                let call = member.unary(ShardId(1), method, message);
                let mut answers = 0;
                for _ in 0..8 {
                    while let Some((whose, _)) = member.hear() {
                        answers += u32::from(whose == call);
                    }
                    member.rest();
                }
                assert_eq!(answers, 1, "{method:?} is answered once");
            }
            Kind::ServerStream | Kind::Bidi => {
                let call = member.open(ShardId(1), method);
                member.event(ShardId(1), ShardEvent::Message { call, message });
                member.event(ShardId(1), ShardEvent::HalfClosed { call });
                while member.hear().is_some() {}
                member.event(ShardId(1), ShardEvent::Gone { call });
                while member.hear().is_some() {}
            }
        }
        assert_eq!(member.broken(), None);
    }
}

/// A disk of a member that was stopped, and what it held.
pub struct Damage {
    disk: MemoryDisk,
    rows: pb::RangeResponse,
}

impl Damage {
    /// Fills a member.
    pub fn new() -> Damage {
        let mut member = Member::new(SHAPE, 2);
        let mut generator = Generator::new(3);
        for _ in 0..COMMANDS {
            let request = generator.next(9, 0);
            if rpc::batches(&request) {
                let (method, message) = rpc::encode(&request);
                member.unary(ShardId(0), method, message);
                while member.hear().is_some() {}
            }
        }
        (0..3).for_each(|_| member.rest());
        let rows = rows(&mut member).expect("nothing is damaged yet");
        Damage { disk: member.disk().clone(), rows }
    }

    /// Which block, and what it becomes: file number, kind of damage, place. One block: damage of
    /// both the log's last batch and the seal that promises it looks like a torn end, which the
    /// format says it cannot tell (docs/data_file.md).
    pub fn damage(dice: &mut Prng) -> Vec<u8> {
        (0..4).map(|_| dice.next_u64() as u8).collect()
    }

    /// Starts a member on the damaged disk.
    pub fn try_damage(&self, bytes: &Bytes) {
        let mut disk = self.disk.clone();
        let blocks = disk.blocks();
        for one in bytes.chunks_exact(4) {
            let pick = usize::from(u16::from_le_bytes([one[0], one[1]]));
            let (file, offset) = blocks[pick % blocks.len()];
            let (other, at) = blocks[(pick * 31 + usize::from(one[3])) % blocks.len()];
            let mut block = disk.block(file, offset).to_vec();
            match one[2] % 4 {
                0 => block.fill(0),
                1 => block = disk.block(other, at).to_vec(),
                2 => block[usize::from(one[3])] ^= 0x10,
                _ => block[usize::from(one[3]) * 16] ^= 0x01,
            }
            disk.perform(IoRequest::Write { file, offset, bytes: Bytes::from(block) });
        }
        // A damaged block may be one that nothing reaches: then all is as it was.
        let Ok(mut member) = Member::boot(SHAPE, disk, 4) else { return };
        if let Some(rows) = rows(&mut member) {
            assert_eq!(rows.kvs, self.rows.kvs, "acknowledged pairs are there, or it says so");
        }
    }
}

fn rows(member: &mut Member) -> Option<pb::RangeResponse> {
    let all = Bytes::from_static(b"\0");
    let request = pb::RangeRequest { key: all.clone(), range_end: all, ..Default::default() };
    let call = member.unary(ShardId(0), Method::Range, Bytes::from(request.encode_to_vec()));
    while let Some((whose, heard)) = member.hear() {
        match heard {
            Heard::Reply(bytes) if whose == call => {
                return Some(pb::RangeResponse::decode(bytes).expect("our own reply"));
            }
            Heard::Reply(_) | Heard::Message(_) | Heard::Failed(_) | Heard::Finished => {}
        }
    }
    assert!(member.broken().is_some(), "a read is answered, or the member is broken");
    None
}
