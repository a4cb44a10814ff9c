//! Laws of patience: what every client may do, and how much is too much.

use super::*;

fn frame(kind: FrameKind, flags: u8, payload_bytes: u32) -> Seen {
    Seen { kind, flags, stream: 0, payload_bytes }
}

fn at(now_ms: u64, is_busy: bool) -> impl FnOnce() -> Moment {
    move || Moment { now_ms, is_busy }
}

fn started() -> Guard {
    let mut guard = Guard::new(5000);
    let settings = frame(FrameKind::Settings, 0, 6);
    guard.judge(&settings, 0, at(0, false)).expect("the first frame is SETTINGS");
    guard
}

fn ping(guard: &mut Guard, now_ms: u64, is_busy: bool) -> Result<(), Offence> {
    guard.judge(&frame(FrameKind::Ping, 0, 8), now_ms, at(now_ms, is_busy))
}

#[test]
fn the_first_frame_is_settings() {
    let mut guard = Guard::new(5000);
    let judged = guard.judge(&frame(FrameKind::Headers, 0, 8), 0, at(0, false));
    assert_eq!(judged, Err(Offence::Preface));
}

#[test]
fn pings_at_the_allowed_pace_are_never_too_many() {
    let mut guard = started();
    for n in 0..100 {
        assert_eq!(ping(&mut guard, 5000 * n, true), Ok(()));
    }
}

#[test]
fn the_third_early_ping_is_one_too_many() {
    let mut guard = started();
    assert_eq!(ping(&mut guard, 0, true), Ok(()));
    assert_eq!(ping(&mut guard, 4999, true), Ok(()));
    assert_eq!(ping(&mut guard, 9998, true), Ok(()));
    assert_eq!(ping(&mut guard, 14_997, true), Err(Offence::Pings));
}

#[test]
fn pings_without_a_call_may_come_every_two_hours() {
    let mut guard = started();
    assert_eq!(ping(&mut guard, 0, false), Ok(()));
    assert_eq!(ping(&mut guard, PING_IDLE_MS, false), Ok(()));
    assert_eq!(ping(&mut guard, PING_IDLE_MS + 10_000, false), Ok(()));
    assert_eq!(ping(&mut guard, PING_IDLE_MS + 20_000, false), Ok(()));
    assert_eq!(ping(&mut guard, PING_IDLE_MS + 30_000, false), Err(Offence::Pings));
}

#[test]
fn an_answer_forgives_earlier_pings() {
    let mut guard = started();
    for n in 0..50 {
        assert_eq!(ping(&mut guard, n, true), Ok(()));
        guard.answered();
    }
}

#[test]
fn acks_of_our_pings_are_not_pings() {
    let mut guard = started();
    for n in 0..100 {
        let ack = frame(FrameKind::Ping, FLAG_END_OR_ACK, 8);
        assert_eq!(guard.judge(&ack, n, at(n, true)), Ok(()));
    }
}

#[test]
fn each_flood_ends_with_its_own_offence() {
    for (flood, burst, offence) in [
        (frame(FrameKind::Settings, 0, 0), SETTINGS_BURST, Offence::Settings),
        (frame(FrameKind::Reset, 0, 4), RESETS_BURST, Offence::Resets),
        (frame(FrameKind::Data, 0, 0), IDLE_FRAMES_BURST, Offence::IdleFrames),
        (frame(FrameKind::Continuation, 0, 0), IDLE_FRAMES_BURST, Offence::IdleFrames),
        (frame(FrameKind::Priority, 0, 5), IDLE_FRAMES_BURST, Offence::IdleFrames),
        (frame(FrameKind::Unknown, 0, 5), IDLE_FRAMES_BURST, Offence::IdleFrames),
    ] {
        let mut guard = started();
        let mut judge = || guard.judge(&flood, 0, at(0, false));
        let fine = (0..burst).take_while(|_| judge().is_ok()).count() as u32;
        assert!(burst - 1 <= fine, "{flood:?}: {fine}");
        assert_eq!(judge(), Err(offence));
    }
}

#[test]
fn resets_are_earned_by_calls_and_by_time() {
    let mut guard = started();
    let reset = frame(FrameKind::Reset, 0, 4);
    for n in 0..10 * RESETS_BURST {
        guard.finished(1);
        assert_eq!(guard.judge(&reset, 0, at(0, true)), Ok(()), "{n}");
    }
    for n in 0..100 * u64::from(RESETS_PER_SECOND) {
        let now_ms = n * 1000 / u64::from(RESETS_PER_SECOND);
        assert_eq!(guard.judge(&reset, now_ms, at(now_ms, true)), Ok(()), "{n}");
    }
}
