use std::time::Duration;

use super::*;

/// What is refused by `check`: a change, the field, and a part of what is said about it.
type Refusal = (fn(&mut Settings), &'static str, &'static str);

type Change = fn(&mut RetrySettings);

fn retry(change: Change) -> RetrySettings {
    let mut retry = RetrySettings::attempts(3);
    change(&mut retry);
    retry
}

#[test]
fn what_cannot_be_used_is_refused_with_its_field_and_what_to_do() {
    const REFUSED: [Refusal; 12] = [
        (
            |it| it.client.name = Some(String::new()),
            "client.name",
            "use UTF-8 text",
        ),
        (
            |it| it.client.name = Some("a\nb".into()),
            "client.name",
            "use UTF-8 text",
        ),
        (
            |it| it.client.name = Some("x".repeat(256)),
            "client.name",
            "255",
        ),
        (
            |it| it.client.reconnect.multiplier = Some(0.9),
            "client.reconnect.multiplier",
            "at least 1",
        ),
        (
            |it| it.client.reconnect.multiplier = Some(f64::NAN),
            "client.reconnect.multiplier",
            "at least 1",
        ),
        (
            |it| it.client.reconnect.jitter = Some(50.0),
            "client.reconnect.jitter",
            "from 0 to 1",
        ),
        (
            |it| it.client.reconnect.jitter = Some(f64::NAN),
            "client.reconnect.jitter",
            "from 0 to 1",
        ),
        (
            |it| it.producers.app_id = Some("x".repeat(256)),
            "producers.app_id",
            "255 bytes",
        ),
        (
            |it| it.producers.content_type = Some("x".repeat(256)),
            "producers.content_type",
            "255 bytes",
        ),
        (
            |it| {
                it.consumers.retry = Some(retry(|it| {
                    it.delays = Some(Vec::new());
                    it.delay = Some(Duration::ZERO);
                }));
            },
            "consumers.retry.delays",
            "leave out one",
        ),
        (
            |it| {
                it.consumers.retry = Some(retry(|it| {
                    it.dead_letter_queue = Some("dead".into());
                    it.reject_after_last = true;
                }));
            },
            "consumers.retry",
            "say one of",
        ),
        (
            |it| it.consumers.retry = Some(retry(|it| it.dead_letter_queue = Some(String::new()))),
            "consumers.retry.dead_letter_queue",
            "name the queue",
        ),
    ];
    for (change, field, advice) in REFUSED {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = settings.check().expect_err(field);
        assert_eq!(error.field(), field);
        let text = error.to_string();
        assert!(text.contains(field) && text.contains(advice), "{text}");
    }
    assert_eq!(Settings::default().check(), Ok(()));
}

#[test]
fn a_retry_is_what_its_methods_would_have_made_of_it() {
    use crate::{Queue, Retry};

    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
    let minute = Duration::from_secs(60);
    let attempts = || Retry::attempts(3);
    let table: [(Change, Retry); 7] = [
        (|_| (), attempts()),
        (
            |it| it.delay = Some(Duration::from_millis(5)),
            attempts().delay(Duration::from_millis(5), minute),
        ),
        (
            |it| it.max_delay = Some(Duration::from_secs(3600)),
            attempts().delay(second, hour),
        ),
        (
            |it| it.delays = Some(vec![Duration::from_secs(1)]),
            attempts().delays([second]),
        ),
        (
            |it| it.dead_letter_exchange = Some("dead".into()),
            attempts().dead_letter_exchange("dead"),
        ),
        (
            |it| it.reject_after_last = true,
            attempts().reject_after_last(),
        ),
        (
            |it| {
                it.quorum = true;
                it.dead_letter_queue = Some("dead".into());
            },
            attempts().quorum().dead_letter_queue(Queue::quorum("dead")),
        ),
    ];
    for (change, expected) in table {
        let made = retry(change).to_retry().unwrap();
        assert_eq!(format!("{made:?}"), format!("{expected:?}"));
    }
}

#[cfg(feature = "serde")]
mod with_serde {
    use super::*;

    /// The TOML of the documentation.
    fn documented() -> String {
        let lines = include_str!("../settings.rs").lines();
        let lines = lines.map(|line| line.strip_prefix("///").unwrap_or(line));
        let lines = lines.skip_while(|line| line.trim() != "```toml").skip(1);
        let lines = lines.take_while(|line| line.trim() != "```");
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_documented_file_has_all_fields_and_goes_through_toml_and_json_unchanged() {
        let settings: Settings = toml::from_str(&documented()).unwrap();
        settings.check().unwrap();
        assert_eq!(settings.client.close_timeout, Some(Duration::from_secs(10)));
        assert_eq!(settings.client.max_message_size, Some(128 << 20));
        assert_eq!(
            settings.producers.expires,
            Some(Duration::from_secs(90 * 60))
        );
        assert_eq!(settings.producers.policy, Some(BufferPolicy::Block));

        let written = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&written).unwrap(), settings);
        assert!(written.contains(r#"expires = "1h 30m""#), "{written}");
        assert!(
            written.contains(r#"capacity_bytes = "64 MiB""#),
            "{written}"
        );
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<Settings>(&written).unwrap(),
            settings
        );

        // But for those that exclude others, nothing was left out of the file.
        let debug = format!("{settings:?}");
        let said = debug
            .replace("delays: None", "")
            .replace("dead_letter_exchange: None", "");
        assert!(!said.contains("None"), "{debug}");
    }

    #[test]
    fn nothing_said_is_nothing_set() {
        for empty in [
            "",
            "[client]",
            "[client.reconnect]",
            "[producers]\n[consumers]\n[requesters]",
        ] {
            assert_eq!(
                toml::from_str::<Settings>(empty).unwrap(),
                Settings::default()
            );
        }
    }

    #[test]
    fn fields_that_there_are_not_are_named() {
        for text in [
            "[clients]\nname = 'a'",
            "[client]\nheart_beat = '1s'",
            "[client.reconnect]\ndelay = '1s'",
            "[producers]\nbuffer = 1",
            "[consumers]\nprefech = 1",
            "[consumers.retry]\nattempts = 1\nwait = '1s'",
            "[requesters]\ntimeouts = '1s'",
        ] {
            let error = toml::from_str::<Settings>(text).unwrap_err().to_string();
            let field = [
                "clients",
                "heart_beat",
                "delay",
                "buffer",
                "prefech",
                "wait",
                "timeouts",
            ]
            .into_iter()
            .find(|field| error.contains(&format!("unknown field `{field}`, expected")));
            assert!(field.is_some(), "{text}: {error}");
        }
    }

    #[test]
    fn times_and_sizes_that_are_none_are_refused_with_an_example() {
        let time =
            |value: &str| toml::from_str::<Settings>(&format!("client.call_timeout = {value}"));
        for refused in [
            "30",
            "-1",
            "1.5",
            "true",
            "'30'",
            "''",
            "'5 parsecs'",
            "'-1s'",
            "'1e9999s'",
            "'99999999999999999999s'",
            "'584942417355y 1000y'",
            "[]",
        ] {
            let error = time(refused).expect_err(refused).to_string();
            assert!(
                error.contains(r#"a time with its unit, such as "500ms", "30s""#),
                "{error}"
            );
        }
        for (taken, expected) in [
            ("0", 0),
            ("'0'", 0),
            ("'0s'", 0),
            ("'500ms'", 500),
            ("' 2s '", 2_000),
            ("'1m 1s'", 61_000),
        ] {
            let settings = time(taken).unwrap();
            assert_eq!(
                settings.client.call_timeout,
                Some(Duration::from_millis(expected))
            );
        }

        let size =
            |value: &str| toml::from_str::<Settings>(&format!("client.max_message_size = {value}"));
        for refused in [
            "-1",
            "1.5",
            "'-1'",
            "''",
            "'much'",
            "'1 parsec'",
            "true",
            "[]",
        ] {
            let error = size(refused).expect_err(refused).to_string();
            assert!(
                error.contains(r#"a number of bytes, or a text such as "64 MiB""#),
                "{error}"
            );
        }
        for refused in ["4294967296", "'4 GiB'", "'1000 EB'"] {
            let error = size(refused).expect_err(refused).to_string();
            assert!(
                error.contains("are too many: 4294967295 is the most"),
                "{error}"
            );
        }
        for (taken, expected) in [
            ("0", 0),
            ("'0'", 0),
            ("4294967295", u32::MAX),
            ("'1 kB'", 1_000),
            ("'1.5KiB'", 1_536),
        ] {
            assert_eq!(size(taken).unwrap().client.max_message_size, Some(expected));
        }
    }

    #[test]
    fn numbers_that_do_not_fit_and_policies_that_there_are_not_are_refused() {
        for refused in [
            "consumers.prefetch = 65536",
            "consumers.prefetch = -1",
            "producers.priority = 256",
            "producers.policy = 'drop'",
            "producers.capacity = -1",
            "client.single_connection = 'perhaps'",
            "client.reconnect.max_attempts = 4294967296",
            "consumers.retry.delay = '1s'",
        ] {
            let error = toml::from_str::<Settings>(refused)
                .expect_err(refused)
                .to_string();
            let field = refused.split(['.', ' ']).nth(1).unwrap();
            assert!(
                error.contains(field) || error.contains("attempts"),
                "{error}"
            );
        }
    }

    #[test]
    fn extremes_are_written_and_read_unchanged() {
        let times = [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::new(86_399, 999_999_999),
            Duration::MAX,
        ];
        let sizes = [
            0,
            1,
            1023,
            1024,
            (1 << 30) + 1,
            1 << 40,
            (1 << 63) + 1024,
            usize::MAX,
        ];
        for (time, size) in times.into_iter().cycle().zip(sizes) {
            let mut settings = Settings::default();
            settings.client.heartbeat = Some(time);
            settings.client.max_message_size = Some(size as u32);
            settings.producers.capacity_bytes = Some(size);
            settings.consumers.warn_unsettled_after = Some(time);
            settings.consumers.retry = Some(retry(|it| {
                it.delays = Some(vec![Duration::MAX, Duration::ZERO]);
            }));
            let written = toml::to_string(&settings).unwrap();
            assert_eq!(
                toml::from_str::<Settings>(&written).unwrap(),
                settings,
                "{written}"
            );
        }
    }

    #[test]
    fn the_environment_says_the_same() {
        let variables = [
            ("ORDERS__CLIENT__NAME", "orders"),
            ("ORDERS__CLIENT__CLOSE_TIMEOUT", "20s"),
            ("ORDERS__CLIENT__WRITE_TIMEOUT", "0"),
            ("ORDERS__CLIENT__RECONNECT__JITTER", "0.25"),
            ("ORDERS__CLIENT__SINGLE_CONNECTION", "true"),
            ("ORDERS__PRODUCERS__POLICY", "drop_oldest"),
            ("ORDERS__PRODUCERS__CAPACITY_BYTES", "1 MiB"),
            ("ORDERS__CONSUMERS__CAPACITY_BYTES", "4096"),
            ("ORDERS__CONSUMERS__PREFETCH", "20"),
            ("ORDERS__CONSUMERS__RETRY__ATTEMPTS", "5"),
        ];
        let read = |variables: &[(&str, &str)]| {
            let variables = variables
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()));
            let source = config::Environment::with_prefix("ORDERS")
                .prefix_separator("__")
                .separator("__");
            let config =
                config::Config::builder().add_source(source.source(Some(variables.collect())));
            config.build().unwrap().try_deserialize::<Settings>()
        };
        let mut expected = Settings::default();
        expected.client.name = Some("orders".into());
        expected.client.close_timeout = Some(Duration::from_secs(20));
        expected.client.write_timeout = Some(Duration::ZERO);
        expected.client.reconnect.jitter = Some(0.25);
        expected.client.single_connection = Some(true);
        expected.producers.policy = Some(BufferPolicy::DropOldest);
        expected.producers.capacity_bytes = Some(1 << 20);
        expected.consumers.capacity_bytes = Some(4096);
        expected.consumers.prefetch = Some(20);
        expected.consumers.retry = Some(RetrySettings::attempts(5));
        assert_eq!(read(&variables).unwrap(), expected);

        let error = read(&[("ORDERS__CLIENT__CLOSE_TIMEOUT", "20")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("a time with its unit"), "{error}");
        let error = read(&[("ORDERS__CLIENT__TIMEOUT", "20s")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown field `timeout`"), "{error}");
    }
}
