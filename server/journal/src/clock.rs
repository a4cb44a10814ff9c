//! Owns how a moment is written: UTC to the microsecond.
//! Never knows time zones or leap seconds. Invariant: the text has 27 letters until the year 9999.

use std::fmt::Write as _;
use std::time::SystemTime;

/// Appends `2026-11-20T23:16:40.163123Z`. Moments before 1970 count as 1970.
pub(crate) fn put_utc(to: &mut String, at: SystemTime) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = since.subsec_micros();
    write!(to, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
        .unwrap_or_else(|_| unreachable!("a string takes every text"));
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
/// Years are counted from March, so that the odd day comes last (Hinnant, "chrono-compatible
/// low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moments_are_written_in_utc() {
        let table = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_735_689_599_999_999, "2024-12-31T23:59:59.999999Z"),
            (1_795_216_600_163_000, "2026-11-20T23:16:40.163000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ];
        for (micros, expected) in table {
            let mut text = String::new();
            put_utc(&mut text, SystemTime::UNIX_EPOCH + Duration::from_micros(micros));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn days_follow_each_other_for_four_hundred_years() {
        let mut before = civil(0);
        for day in 1..146_097 {
            let now = civil(day);
            assert!(before < now, "{before:?} {now:?}");
            assert!(now.2 == before.2 + 1 || now.2 == 1, "{before:?} {now:?}");
            before = now;
        }
    }
}
