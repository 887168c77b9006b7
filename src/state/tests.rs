use super::*;

#[test]
fn times_are_as_exact_as_people_want_them() {
    for (millis, expected) in [
        (0, "0.0 s"),
        (1_250, "1.2 s"),
        (59_900, "59.9 s"),
        (60_000, "1 min 0 s"),
        (3_599_999, "59 min 59 s"),
        (3_600_000, "1 h 0 min"),
        (86_399_999, "23 h 59 min"),
        (200_000_000, "2 d 7 h"),
    ] {
        let time = Time(Duration::from_millis(millis));
        assert_eq!(time.to_string(), expected);
    }
}

#[test]
fn what_a_broker_says_makes_no_further_line() {
    let text = OneLine("low\non\r\nmemory\u{1b}[2J").to_string();
    assert_eq!(text, "low on  memory [2J");
}
