//! Cues of subtitles (SubRip and WebVTT): their numbers and times are silent.

/// True for the time of a cue: "00:00:01,000 --> 00:00:04,200". Settings may follow.
pub(super) fn is_time(line: &str) -> bool {
    let Some((start, rest)) = line.trim().split_once("-->") else { return false };
    is_stamp(start.trim()) && is_stamp(rest.split_whitespace().next().unwrap_or_default())
}

/// True for what may be the beginning of such a line up to its first comma.
pub(super) fn may_be_time(line: &str) -> bool {
    is_clock(line.trim()) || line.trim().split_once("-->").is_some_and(|(_, end)| is_clock(end.trim()))
}

/// True for the number of a cue.
pub(super) fn is_number(line: &str) -> bool {
    let line = line.trim_end();
    (1..=5).contains(&line.len()) && line.bytes().all(|b| b.is_ascii_digit())
}

/// True for "00:00:01,000" and "00:01.000".
fn is_stamp(text: &str) -> bool {
    text.rsplit_once([',', '.']).is_some_and(|(clock, fraction)| {
        is_clock(clock) && fraction.len() == 3 && fraction.bytes().all(|b| b.is_ascii_digit())
    })
}

/// True for "00:00:01" and "00:01".
fn is_clock(text: &str) -> bool {
    let mut parts = text.split(':');
    let is_part = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    (2..=3).contains(&text.split(':').count()) && parts.all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_have_a_number_and_a_time() {
        for line in [
            "00:00:01,000 --> 00:00:04,200",
            "00:01.000 --> 00:04.000 align:start",
            " 01:02:03.004-->01:02:05.006",
        ] {
            assert!(is_time(line), "{line}");
        }
        for line in
            ["", "00:01 --> 00:04", "a --> b", "00:00:01,000 -->", "1:00.000 --> 2:00.000", "at 00:00:01,000"]
        {
            assert!(!is_time(line), "{line}");
        }
        assert!(
            may_be_time("00:00:01")
                && may_be_time("00:00:01,000 --> 00:00:04")
                && !may_be_time("00:00:01,000")
        );
        assert!(is_number("12 ") && !is_number("") && !is_number("123456") && !is_number("1."));
    }
}
