//! Times and sizes as people write them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// One time, or none.
pub(super) mod time {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, Time};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Time>::deserialize(from)?.map(|Time(time)| time))
    }

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Time).serialize(to)
    }
}

/// A list of times, or none.
pub(super) mod times {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, Time};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<Duration>>, D::Error> {
        let times = Option::<Vec<Time>>::deserialize(from)?;
        Ok(times.map(|times| times.into_iter().map(|Time(time)| time).collect()))
    }

    pub(in super::super) fn serialize<S: Serializer>(
        times: &Option<Vec<Duration>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let times = times.as_ref();
        let times = times.map(|times| times.iter().copied().map(Time).collect::<Vec<_>>());
        times.serialize(to)
    }
}

/// A number of bytes, or none.
pub(super) mod bytes {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Size};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<Size<T>>::deserialize(from)?.map(|Size(size)| size))
    }

    pub(in super::super) fn serialize<S: Serializer, T: Copy + TryInto<u64>>(
        size: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        size.map(Size).serialize(to)
    }
}

struct Time(Duration);

struct OfTime;

impl Visitor<'_> for OfTime {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time with its unit, such as \"500ms\", \"30s\" or \"1h 30min\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        if text.trim() == "0" {
            return Ok(Time(Duration::ZERO));
        }
        match humantime::parse_duration(text.trim()) {
            Ok(time) => Ok(Time(time)),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Time, E> {
        match number {
            0 => Ok(Time(Duration::ZERO)),
            _ => Err(E::invalid_type(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Time, E> {
        match number {
            0 => Ok(Time(Duration::ZERO)),
            _ => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OfTime)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(self.0))
    }
}

struct Size<T>(T);

struct OfSize<T>(PhantomData<T>);

impl<T: TryFrom<u64>> OfSize<T> {
    fn size<E: Error>(self, bytes: u64) -> Result<Size<T>, E> {
        // 0 bytes is a size of any type, so the largest is where it ends.
        let size = T::try_from(bytes).map_err(|_| {
            let most = match size_of::<T>() {
                4 => u64::from(u32::MAX),
                _ => usize::MAX as u64,
            };
            E::custom(format_args!(
                "{bytes} bytes are too many: {most} is the most"
            ))
        })?;
        Ok(Size(size))
    }
}

impl<T: TryFrom<u64>> Visitor<'_> for OfSize<T> {
    type Value = Size<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or a text such as \"64 MiB\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size<T>, E> {
        match text.trim().parse::<ByteSize>() {
            Ok(size) => self.size(size.as_u64()),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size<T>, E> {
        self.size(bytes)
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size<T>, E> {
        match bytes.try_into() {
            Ok(bytes) => self.size(bytes),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(bytes), &self)),
        }
    }
}

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Size<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OfSize(PhantomData))
    }
}

impl<T: Copy + TryInto<u64>> Serialize for Size<T> {
    /// Nothing is rounded: a number of bytes goes as the largest unit that it is a multiple of.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.try_into().unwrap_or(u64::MAX);
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        // Beyond that, what reads it counts with fractions.
        let is_exact = (1..1 << 53).contains(&bytes);
        let fits = |&(bits, _): &(u32, &str)| is_exact && bytes % (1 << bits) == 0;
        match units.into_iter().find(fits) {
            Some((bits, unit)) => to.collect_str(&format_args!("{} {unit}", bytes >> bits)),
            // A text, since TOML has no number that is larger than an i64.
            None => to.collect_str(&bytes),
        }
    }
}
