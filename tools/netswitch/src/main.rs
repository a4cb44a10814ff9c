//! Owns a switch in user space: one cable to each network namespace that it is given, and a way
//! between any two, which can be cut, slow, late or lossy. It is there because a kernel may lack
//! `sch_netem`, and because one way can be cut without the other.
//!
//!     ringleader-netswitch SEED NAMESPACE...
//!
//! Each namespace gets an interface `eth0`. A frame goes to the place that the last byte of its
//! destination's hardware address numbers; there is no broadcast, so neighbours are written into
//! the namespaces by whoever makes them. Orders come as lines on the standard input (see
//! `orders.rs`), each is answered by a line; the end of the input ends the process.

mod link;
mod orders;
mod sys;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use base::Prng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use link::{Link, Shape};
use orders::Order;

/// Frames that are taken from one cable in a row.
const FRAMES_IN_A_ROW: usize = 64;
/// Longer than any frame of an interface of the usual 1500 bytes.
const FRAME_BYTES_MAX: usize = 2048;
const HEADER_BYTES: usize = 14;
const IDLE: Duration = Duration::from_secs(1);

/// A frame under way: when it arrives, its number, where, and what it is.
type Late = Reverse<(u64, u64, usize, Vec<u8>)>;

struct Switch {
    cables: Vec<File>,
    ways: Vec<Link>,
    late: BinaryHeap<Late>,
    sent: u64,
    dice: Prng,
    began: Instant,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().and_then(|word| word.parse().ok());
    let namespaces: Vec<String> = arguments.collect();
    let Some(seed) = seed.filter(|_| !namespaces.is_empty()) else {
        eprintln!("usage: ringleader-netswitch SEED NAMESPACE...");
        return ExitCode::from(2);
    };
    match Switch::new(seed, &namespaces).and_then(|mut switch| switch.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringleader-netswitch: {error} (it needs root and /dev/net/tun)");
            ExitCode::FAILURE
        }
    }
}

impl Switch {
    fn new(seed: u64, namespaces: &[String]) -> io::Result<Switch> {
        let cables: Vec<File> =
            namespaces.iter().map(|name| sys::open_tap(name)).collect::<io::Result<_>>()?;
        let ways = (0..cables.len() * cables.len()).map(|_| Link::default()).collect();
        let (late, dice) = (BinaryHeap::new(), Prng::from_seed(seed));
        println!("ready");
        Ok(Switch { cables, ways, late, sent: 0, dice, began: Instant::now() })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut orders = String::new();
        loop {
            let ready = self.wait()?;
            if ready[self.cables.len()] && !self.obey(&mut orders)? {
                return Ok(());
            }
            for from in (0..self.cables.len()).filter(|at| ready[*at]) {
                self.drain(from)?;
            }
            self.deliver();
        }
    }

    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Waits for frames, orders or the arrival of something late. Which of the cables, and last the
    /// orders, have something.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let due = self.late.peek().map(|Reverse((at, ..))| at.saturating_sub(self.now_us()));
        let wait = due.map_or(IDLE, Duration::from_micros);
        let timeout =
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let stdin = io::stdin();
        let mut all: Vec<PollFd<'_>> =
            self.cables.iter().map(|cable| PollFd::new(cable, PollFlags::IN)).collect();
        all.push(PollFd::new(&stdin, PollFlags::IN));
        match poll(&mut all, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(all.iter().map(|one| !one.revents().is_empty()).collect())
    }

    /// Does what the lines say; false at the end of the input.
    fn obey(&mut self, kept: &mut String) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let got = rustix::io::read(io::stdin(), &mut bytes)?;
        kept.push_str(&String::from_utf8_lossy(&bytes[..got]));
        let mut out = io::stdout().lock();
        while let Some(end) = kept.find('\n') {
            let line: String = kept.drain(..=end).collect();
            match orders::parse(&line, self.cables.len()) {
                Ok(Order::Heal) => self.ways.iter_mut().for_each(|w| w.shape = Shape::default()),
                Ok(Order::Way { from, to, shape }) => self.way(from, to).shape = shape,
                Err(why) => {
                    writeln!(out, "no: {why}")?;
                    continue;
                }
            }
            writeln!(out, "done")?;
        }
        out.flush()?;
        Ok(0 < got)
    }

    fn way(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.ways[from * self.cables.len() + to]
    }

    fn drain(&mut self, from: usize) -> io::Result<()> {
        let mut frame = [0; FRAME_BYTES_MAX];
        for _ in 0..FRAMES_IN_A_ROW {
            let got = match (&self.cables[from]).read(&mut frame) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The interface is down for the moment.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(()),
                Err(error) => return Err(error),
            };
            self.forward(from, &frame[..got]);
        }
        Ok(())
    }

    fn forward(&mut self, from: usize, frame: &[u8]) {
        if frame.len() < HEADER_BYTES {
            return;
        }
        // The places' addresses begin with 2 and end with their number from 1 on.
        let to = usize::from(frame[5]).wrapping_sub(1);
        if frame[0] != 2 || self.cables.len() <= to || from == to {
            return;
        }
        let now = self.now_us();
        let mut dice = Prng::from_seed(self.dice.next_u64());
        match self.way(from, to).send(now, frame.len() as u64, &mut dice) {
            None => {}
            Some(at) if at <= now => self.put(to, frame),
            Some(at) => {
                self.sent += 1;
                self.late.push(Reverse((at, self.sent, to, frame.to_vec())));
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now_us();
        while self.late.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, _, to, frame))) = self.late.pop() else { return };
            self.put(to, &frame);
        }
    }

    /// A frame that its interface does not take is lost, as on any cable.
    fn put(&self, to: usize, frame: &[u8]) {
        let _ = (&self.cables[to]).write(frame);
    }
}
