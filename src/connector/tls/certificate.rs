//! What a certificate says of itself, for people to read.
//!
//! It comes from whoever answers, and is shown and nothing else: whether it is to be trusted is rustls' to say.

use std::fmt;

/// Whose a certificate is, who has signed it, and when it is valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Description {
    subject: String,
    /// Nobody where it is the subject itself.
    issuer: Option<String>,
    valid: Option<(String, String)>,
}

impl Description {
    /// Reads so much of a certificate (RFC 5280 §4.1). Nothing, where it is none.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let mut certificate = Der(Der(certificate).next(SEQUENCE)?);
        let mut fields = Der(certificate.next(SEQUENCE)?);
        // The version, which may be missing, the number and the algorithm.
        if fields.0.first() == Some(&VERSION) {
            fields.next(VERSION)?;
        }
        fields.next(INTEGER)?;
        fields.next(SEQUENCE)?;
        let issuer = fields.next(SEQUENCE)?;
        let mut validity = Der(fields.next(SEQUENCE)?);
        let subject = fields.next(SEQUENCE)?;
        let valid = validity.any().zip(validity.any());
        Some(Self {
            subject: name(subject),
            issuer: (issuer != subject).then(|| name(issuer)),
            valid: valid.and_then(|(from, until)| time(from).zip(time(until))),
        })
    }

    /// Whether nobody else has signed it.
    pub(super) fn has_signed_itself(&self) -> bool {
        self.issuer.is_none()
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, issued by ", self.subject)?;
        match &self.issuer {
            Some(issuer) => f.write_str(issuer)?,
            None => f.write_str("itself")?,
        }
        match &self.valid {
            Some((from, until)) => write!(f, ", valid from {from} to {until}"),
            None => Ok(()),
        }
    }
}

/// A distinguished name in the order of RFC 4514, which is that in which RabbitMQ has it for user names, too.
pub(super) fn name(name: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut sets = Der(name);
    while let Some(set) = sets.next(SET) {
        let mut attributes = Der(set);
        while let Some(attribute) = attributes.next(SEQUENCE) {
            parts.extend(part(attribute));
        }
    }
    parts.reverse();
    if parts.is_empty() {
        return "a subject without a name".to_owned();
    }
    let text = parts.join(",");
    match text.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// One attribute of a name, of those that say something to people.
fn part(attribute: &[u8]) -> Option<String> {
    let mut attribute = Der(attribute);
    let id = attribute.next(OBJECT_IDENTIFIER)?;
    let (_, id) = ATTRIBUTES
        .iter()
        .find(|(bytes, _)| *bytes == id)
        .map(|(bytes, id)| (bytes, *id))?;
    let (tag, value) = attribute.any()?;
    let value = match tag {
        BMP_STRING => {
            let units = value.chunks_exact(2);
            let units = units.map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            String::from_utf16_lossy(&units.collect::<Vec<_>>())
        }
        _ => String::from_utf8_lossy(value).into_owned(),
    };
    // It goes into logs, and comes from anybody.
    let value: String = value
        .chars()
        .map(|it| if it.is_control() { '?' } else { it })
        .collect();
    Some(format!("{id}={value}"))
}

/// A time as it is written there: of two digits of a year from 1950 to 2049, or of four (RFC 5280 §4.1.2.5).
fn time((tag, digits): (u8, &[u8])) -> Option<String> {
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    if !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let century = if &digits[..2] < "50" { "20" } else { "19" };
            (format!("{century}{}", &digits[..2]), &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (digits[..4].to_owned(), &digits[4..]),
        _ => return None,
    };
    let (month, day, hour) = (&rest[..2], &rest[2..4], &rest[4..6]);
    let (minute, second) = (&rest[6..8], &rest[8..10]);
    Some(format!("{year}-{month}-{day} {hour}:{minute}:{second} UTC"))
}

/// A time in seconds since 1970, in the same form.
pub(super) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    // In years that begin with March, so that the day of a leap year is the last, and eras of 400 of them.
    let days = days.saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + next;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// What is left of a sequence of values in DER (X.690).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, if it has this tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, contents) = self.any()?;
        (found == tag).then_some(contents)
    }

    /// The next value: its tag, and its contents.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&len, rest) = rest.split_first()?;
        let (len, rest) = match len {
            0..=0x7f => (usize::from(len), rest),
            // So many octets of length follow. A certificate that needs more than three is none.
            0x81..=0x83 => {
                let (octets, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
                let len = octets.iter().fold(0, |len, it| len << 8 | usize::from(*it));
                (len, rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, contents))
    }
}

const LONGEST_NAME: usize = 200;

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// The attributes of names that are shown, by their object identifiers.
const ATTRIBUTES: [(&[u8], &str); 8] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
        "EMAILADDRESS",
    ),
];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(1999, 12, 31);
        params.not_after = date_time_ymd(2051, 2, 28);
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        params
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .to_vec()
    }

    #[test]
    fn it_is_told_whose_a_certificate_is_by_whom_and_when_it_is_valid() {
        let der = certificate(|it| {
            it.distinguished_name.push(DnType::CountryName, "AT");
            it.distinguished_name.push(DnType::CommonName, "snow\nshoe");
        });
        let description = Description::of(&der).expect("it is one");
        assert!(description.has_signed_itself());
        assert_eq!(
            description.to_string(),
            "CN=snow?shoe,C=AT, issued by itself, valid from 1999-12-31 00:00:00 UTC to \
             2051-02-28 00:00:00 UTC"
        );
        let nameless = Description::of(&certificate(|_| ())).expect("it is one");
        assert_eq!(nameless.subject, "a subject without a name");
    }

    #[test]
    fn a_name_without_end_is_cut() {
        let long = certificate(|it| {
            it.distinguished_name
                .push(DnType::CommonName, "ö".repeat(5000));
        });
        let description = Description::of(&long).expect("it is one");
        assert_eq!(description.subject.chars().count(), LONGEST_NAME + 1);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_no_reason_to_panic() {
        let der = certificate(|it| it.distinguished_name.push(DnType::CommonName, "x"));
        for end in 0..der.len() {
            assert_eq!(Description::of(&der[..end]), None);
        }
        for index in 0..der.len() {
            for byte in [0, 0x30, 0x80, 0x84, 0xff] {
                let mut der = der.clone();
                der[index] = byte;
                _ = Description::of(&der).map(|it| it.to_string());
            }
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_609_459_199, "2020-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
        _ = date(u64::MAX);
    }
}
