//! Owns whether there is a history, and its opening. Never interprets it.
//! Invariant: a history is used only after its directory was read.

use base::{IoRequest, Rev, SliceId};
use bytes::Bytes;
use history::{History, HistoryRoot, Opening, Rot};

use crate::slice::HistoryMode;

pub(crate) enum Past {
    /// None is kept.
    None,
    /// Its directory is being read.
    Opening(Opening),
    Open(Box<History>),
}

impl Past {
    pub fn create(id: SliceId, mode: HistoryMode) -> Past {
        match mode {
            HistoryMode::None => Past::None,
            HistoryMode::Kept(options) => Past::Open(Box::new(History::create(id, options))),
        }
    }

    pub fn open(id: SliceId, mode: HistoryMode, root: Option<HistoryRoot>) -> Past {
        match (mode, root) {
            (HistoryMode::None, None) => Past::None,
            (HistoryMode::Kept(options), Some(root)) => {
                Past::Opening(Opening::new(id, options, root))
            }
            (HistoryMode::None, Some(_)) | (HistoryMode::Kept(_), None) => {
                panic!("slice {id:?} was made in the other history mode")
            }
        }
    }

    pub fn is_opening(&self) -> bool {
        match self {
            Past::Opening(_) => true,
            Past::None | Past::Open(_) => false,
        }
    }

    /// The read that opening needs.
    pub fn opening_request(&self) -> Option<IoRequest> {
        match self {
            Past::Opening(opening) => Some(opening.request()),
            Past::None | Past::Open(_) => None,
        }
    }

    pub fn finish_opening(&mut self, bytes: &Bytes) -> Result<(), Rot> {
        let Past::Opening(opening) = self else { unreachable!("opened twice") };
        *self = Past::Open(Box::new(opening.supply(bytes)?));
        Ok(())
    }

    /// The history, if one is kept.
    pub fn get(&mut self) -> Option<&mut History> {
        match self {
            Past::None => None,
            Past::Open(history) => Some(history),
            Past::Opening(_) => unreachable!("nothing runs before opening ends"),
        }
    }

    pub fn stats(&self) -> Option<history::Stats> {
        match self {
            Past::None | Past::Opening(_) => None,
            Past::Open(history) => Some(history.stats()),
        }
    }

    /// Bytes of its files.
    pub fn file_bytes(&self) -> u64 {
        match self {
            Past::None | Past::Opening(_) => 0,
            Past::Open(history) => history.file_bytes(),
        }
    }

    /// The newest revision that it has.
    pub fn last(&mut self) -> Rev {
        self.get().map_or(Rev::ZERO, |history| history.last())
    }
}
