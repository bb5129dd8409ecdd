use std::time::Duration;

use crate::{Class, Money, Reason};

/// Something that happened in a layer: a name and a few facts.
///
/// Each layer has one event enum of its own, which says more; this is what they have in common,
/// so that metrics and logs can take any of them.
///
/// # Examples
///
/// ```
/// use buttress_core::{Class, Event, Fact};
///
/// struct Retried {
///     attempt: u32,
///     class: Class,
/// }
///
/// impl Event for Retried {
///     fn name(&self) -> &'static str {
///         "retry.retried"
///     }
///
///     fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
///         each("attempt", Fact::Count(self.attempt.into()));
///         each("class", Fact::Class(self.class));
///     }
/// }
///
/// let mut line = String::new();
/// let event = Retried { attempt: 1, class: Class::Throttled };
/// event.facts(&mut |name, fact| line += &format!("{name}={fact} "));
/// assert_eq!(line, "attempt=1 class=throttled ");
/// ```
pub trait Event {
    /// What happened, as `layer.event`. One of few: it may become a label.
    fn name(&self) -> &'static str;

    /// Calls `each` for every fact, in a fixed order.
    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>));
}

/// One fact of an [`Event`].
///
/// ```
/// use std::time::Duration;
/// use buttress_core::Fact;
///
/// assert_eq!(Fact::Time(Duration::from_millis(1500)).to_string(), "1.5s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fact<'a> {
    /// A name that the user gave: an endpoint, a key, a model.
    Name(&'a str),
    /// A number of things.
    Count(u64),
    /// A part of a whole, from 0 to 1.
    Ratio(f64),
    /// A length of time.
    Time(Duration),
    /// An amount of money.
    Money(Money),
    /// A class.
    Class(Class),
    /// A reason to refuse.
    Reason(Reason),
    /// Yes or no.
    Flag(bool),
}

// ===== impl Fact =====

impl std::fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.pad(name),
            Self::Count(count) => count.fmt(f),
            Self::Ratio(ratio) => ratio.fmt(f),
            Self::Time(time) => std::fmt::Debug::fmt(time, f),
            Self::Money(money) => money.fmt(f),
            Self::Class(class) => class.fmt(f),
            Self::Reason(reason) => reason.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}
