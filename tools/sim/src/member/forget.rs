//! Owns a bug planted on purpose: a log whose hard states hold no vote. Batches are rewritten on
//! their way to the disk so that only this is wrong with them: checksums and chain are made whole.
//! Never touches an honest run. Invariant: a rewritten batch is as long as the honest one.

use base::checksum::checksum;
use base::{FileId, IoRequest};
use wal::HEADER_BYTES;

// Places in a batch header and in records, as `engine/log` describes them.
const RECORDS_AT: usize = 6;
const PREVIOUS_AT: usize = 52;
const PAYLOAD_SUM_AT: usize = 56;
const PAYLOAD_BYTES_AT: usize = 44;
const SUM_AT: usize = HEADER_BYTES - 4;
const RECORD_HEAD_BYTES: usize = 8;
const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const VOTE_AT: usize = RECORD_HEAD_BYTES + 8;

/// The chain of checksums: the last honest one, and what stands on disk for it.
pub(super) struct Forgetful {
    last: Option<(u32, u32)>,
}

impl Forgetful {
    /// Of a life that has written nothing.
    pub fn new() -> Forgetful {
        Forgetful { last: None }
    }

    /// The request with its votes forgotten.
    pub fn rewrite(&mut self, request: IoRequest) -> IoRequest {
        let IoRequest::Write { file: FileId::Log(number), offset, bytes } = request else {
            return request;
        };
        let mut batch = bytes.to_vec();
        let honest = number_at(&batch, SUM_AT);
        forget_votes(&mut batch);
        if let Some((was, is)) = self.last
            && number_at(&batch, PREVIOUS_AT) == was
        {
            put_at(&mut batch, PREVIOUS_AT, is);
        }
        let end = HEADER_BYTES + number_at(&batch, PAYLOAD_BYTES_AT) as usize;
        let payload = checksum(&batch[HEADER_BYTES..end]);
        put_at(&mut batch, PAYLOAD_SUM_AT, payload);
        let sum = checksum(&batch[..SUM_AT]);
        put_at(&mut batch, SUM_AT, sum);
        self.last = Some((honest, sum));
        IoRequest::Write { file: FileId::Log(number), offset, bytes: batch.into() }
    }
}

fn forget_votes(batch: &mut [u8]) {
    let records = u16::from_le_bytes([batch[RECORDS_AT], batch[RECORDS_AT + 1]]);
    let mut at = HEADER_BYTES;
    for _ in 0..records {
        let len = number_at(batch, at + 4) as usize;
        if batch[at] == HARD_STATE {
            batch[at + VOTE_AT..at + VOTE_AT + 8].fill(0);
        }
        // Of an entry the length counts its data alone.
        at += RECORD_HEAD_BYTES + if batch[at] == ENTRY { 16 + len } else { len };
    }
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn put_at(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}
