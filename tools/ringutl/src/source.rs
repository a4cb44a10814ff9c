//! Owns the reading of a snapshot file: its checksum, its items in order, and single items again by
//! their place. Never trusts a length before it was compared with the file's. Invariant: every item
//! that is given out stood in a file whose end, counts and sums are right, or the reading ends with
//! an error.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use node::snapshot::{
    ALIGN_BYTES, BadSnapshot, HEADER_BYTES, Header, ITEM_HEAD_BYTES, SnapshotItem, SnapshotReader,
};
use sha2::{Digest, Sha256};

/// Bytes of a SHA-256.
const SUM_BYTES: u64 = 32;
/// What is read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Whether the file must end with its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashCheck {
    /// It must, and it must be right.
    Required,
    /// It is not looked at.
    Skipped,
}

/// A snapshot file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    /// Without the SHA-256.
    len: u64,
}

/// Where an item lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    offset: u64,
    body_bytes: u32,
}

impl Source {
    /// Opens the file and checks its SHA-256.
    pub fn open(path: &Path, check: HashCheck) -> Result<Source, String> {
        let refused = |error: std::io::Error| format!("open {}: {error}", path.display());
        let file = File::open(path).map_err(refused)?;
        let whole = file.metadata().map_err(refused)?.len();
        let has_sum = whole % ALIGN_BYTES == SUM_BYTES;
        let len = if has_sum { whole - SUM_BYTES } else { whole };
        let source = Source { path: path.to_path_buf(), file, len };
        match (check, has_sum) {
            (HashCheck::Skipped, _) => {}
            (HashCheck::Required, false) => {
                return Err("snapshot missing hash but --skip-hash-check=false".to_owned());
            }
            (HashCheck::Required, true) => source.check_sum()?,
        }
        Ok(source)
    }

    fn check_sum(&self) -> Result<(), String> {
        let mut sum = Sha256::new();
        self.pieces(|piece| sum.update(piece))?;
        let got = sum.finalize();
        let mut expected = [0; SUM_BYTES as usize];
        self.file.read_exact_at(&mut expected, self.len).map_err(|error| self.refused(&error))?;
        if got[..] == expected[..] {
            return Ok(());
        }
        Err(format!("expected sha256 {}, got {}", hex(&expected), hex(&got)))
    }

    /// CRC-32C of the snapshot.
    pub fn crc(&self) -> Result<u32, String> {
        let mut sum = 0;
        self.pieces(|piece| sum = crc32c::crc32c_append(sum, piece))?;
        Ok(sum)
    }

    fn pieces(&self, mut each: impl FnMut(&[u8])) -> Result<(), String> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut at = 0;
        while at < self.len {
            let len = (self.len - at).min(BUFFER_BYTES as u64) as usize;
            let piece = &mut buffer[..len];
            self.file.read_exact_at(piece, at).map_err(|error| self.refused(&error))?;
            each(piece);
            at += len as u64;
        }
        Ok(())
    }

    /// Bytes of the file without its SHA-256.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Reads everything once, giving each item with its place.
    pub fn read(
        &self,
        mut each: impl FnMut(Spot, SnapshotItem) -> Result<(), String>,
    ) -> Result<Header, String> {
        let mut rest = BufReader::with_capacity(BUFFER_BYTES, ReadFrom { source: self, at: 0 });
        let mut head = [0; HEADER_BYTES];
        rest.read_exact(&mut head).map_err(|error| self.refused(&error))?;
        let mut reader = SnapshotReader::begin(&head).map_err(|bad| self.bad(bad))?;
        loop {
            let offset = reader.offset();
            let mut head = [0; ITEM_HEAD_BYTES];
            rest.read_exact(&mut head).map_err(|error| self.refused(&error))?;
            let body_bytes = SnapshotReader::body_bytes(&head);
            if self.len < offset + ITEM_HEAD_BYTES as u64 + body_bytes as u64 {
                return Err(self.bad(BadSnapshot::Short));
            }
            let mut body = vec![0; body_bytes];
            rest.read_exact(&mut body).map_err(|error| self.refused(&error))?;
            match reader.item(&head, &Bytes::from(body)).map_err(|bad| self.bad(bad))? {
                SnapshotItem::End(_) => break,
                item => {
                    let body_bytes = u32::try_from(body_bytes).expect("read from a u32");
                    each(Spot { offset, body_bytes }, item)?;
                }
            }
        }
        if reader.whole_bytes() != self.len {
            return Err(self.bad(BadSnapshot::Short));
        }
        Ok(reader.header())
    }

    /// Reads one item again.
    pub fn item_at(&self, spot: Spot) -> Result<SnapshotItem, String> {
        let mut bytes = vec![0; ITEM_HEAD_BYTES + spot.body_bytes as usize];
        self.file.read_exact_at(&mut bytes, spot.offset).map_err(|error| self.refused(&error))?;
        let bytes = Bytes::from(bytes);
        let head = bytes[..ITEM_HEAD_BYTES].try_into().expect("cut to its length");
        node::snapshot::parse(&head, &bytes.slice(ITEM_HEAD_BYTES..))
            .ok_or_else(|| self.bad(BadSnapshot::Item { offset: spot.offset }))
    }

    fn refused(&self, error: &std::io::Error) -> String {
        format!("cannot read {}: {error}", self.path.display())
    }

    fn bad(&self, bad: BadSnapshot) -> String {
        let path = self.path.display();
        match bad {
            BadSnapshot::Magic => format!("{path} is no snapshot of Ringleader"),
            BadSnapshot::NewerFormat { found } => {
                format!("{path} has format {found}: use the tool of the newer version")
            }
            BadSnapshot::Short => format!("{path} ends too early"),
            BadSnapshot::Item { offset } => format!("{path} is damaged at byte {offset}"),
            BadSnapshot::Sum => format!("{path} is damaged: a checksum or a count differs"),
        }
    }
}

struct ReadFrom<'a> {
    source: &'a Source,
    at: u64,
}

impl Read for ReadFrom<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let room = (self.source.len - self.at).min(to.len() as u64) as usize;
        let read = self.source.file.read_at(&mut to[..room], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
