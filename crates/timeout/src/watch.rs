//! What may pass between the response and the end of its body.
//!
//! Pure: it is told what came, and handed the time when it is asked. It is asked when somebody
//! begins to wait, when content begins, and whenever its timer has run out; never for a chunk.

use std::mem;

use buttress_core::Progress;
use tokio::time::Instant;

use crate::{
    Phase,
    pace::Pace,
    plan::{AWAY, Cut, Plan, TICK},
    span::Span,
};

#[derive(Debug)]
pub(crate) struct Watch {
    plan: Plan,
    first: Quiet,
    idle: Quiet,
    silence: Quiet,
    pace: Pace,
    heard: Heard,
    /// Until when the call goes on after its end, because the look at that was late. Once.
    grace: Span,
    /// When it wants to look again, once it has looked.
    due: Span,
    begun: bool,
    new: bool,
}

/// How many chunks came since the last look, and how many of them with content.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    chunks: u32,
    pieces: u32,
}

/// A pause that something has to break.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    since: Span,
    /// What it was given beside its limit, once.
    more: Span,
    /// Whether it was let off because the look at it was late.
    excused: bool,
}

/// How the time went until a look.
#[derive(Clone, Copy, Debug)]
struct Look {
    now: Span,
    /// How long nobody waited for what came.
    away: Span,
    /// It comes too late to say that nothing has arrived: what carries it here may have had no turn.
    late: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wake {
    /// Look again then.
    At(Instant),
    /// Look again when content begins.
    Never,
    Cut(Cut),
}

// ===== impl Watch =====

impl Watch {
    #[inline]
    pub(crate) const fn new(plan: Plan) -> Self {
        Self {
            plan,
            // Since it was called.
            first: Quiet::new(Span::ZERO),
            idle: Quiet::new(Span::UNSET),
            silence: Quiet::new(Span::UNSET),
            pace: Pace::new(),
            heard: Heard {
                chunks: 0,
                pieces: 0,
            },
            grace: Span::UNSET,
            due: Span::UNSET,
            begun: false,
            new: true,
        }
    }

    /// Something came.
    #[inline]
    pub(crate) fn hear(&mut self, progress: Progress) {
        self.heard.chunks = self.heard.chunks.saturating_add(1);
        if progress.is_content() {
            self.heard.pieces = self.heard.pieces.saturating_add(1);
            self.new |= !mem::replace(&mut self.begun, true);
        }
    }

    /// Whether content has come.
    pub(crate) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether to look though the time has not come: another phase has begun.
    pub(crate) const fn is_new(&self) -> bool {
        self.new
    }

    /// Nothing is there to deliver, and this is the time.
    pub(crate) fn look(&mut self, now: Instant) -> Wake {
        let now = self.plan.since(now);
        let heard = mem::take(&mut self.heard);
        // What came while nobody read may have more behind it that nobody fetched. Where nothing
        // came, all of the time was the upstream's, as far as one can tell from a look that is late.
        let mut away = now.since(self.due);
        let late = away > AWAY;
        if !late || heard.chunks == 0 {
            away = Span::ZERO;
        }
        self.new = false;
        match self.phases(Look { now, away, late }, heard) {
            Ok(due) => {
                self.due = due;
                self.plan.at(due).map_or(Wake::Never, Wake::At)
            }
            Err(phase) => Wake::Cut(self.plan.cut(phase)),
        }
    }

    /// When to look again, or what has run out.
    fn phases(&mut self, look: Look, heard: Heard) -> Result<Span, Phase> {
        let now = look.now;
        let limits = self.plan.limits;
        let (end, phase) = self.plan.end();
        if end <= now && !self.grace.is_set() {
            // Before the first look nobody asked the body for anything.
            let due = self.due.min(end);
            self.grace = self.plan.grace(end, due, now).ok_or(phase)?;
        }
        let mut due = if self.grace.is_set() { self.grace } else { end };
        if due <= now {
            return Err(phase);
        }
        if limits.first_content.ends() && !self.begun {
            // If it is over at the first look, nobody asked the body for anything before.
            let away = if self.due.is_set() {
                look.away
            } else {
                now.since(limits.first_content)
            };
            let look = Look { away, ..look };
            let next = self.first.look(limits.first_content, look, false);
            due = due.min(next.ok_or(Phase::FirstContent)?);
        }
        if limits.idle.ends() && (self.begun || !limits.first_content.is_set()) {
            let broken = heard.pieces > 0 || (self.plan.pings && heard.chunks > 0);
            let next = self.idle.look(limits.idle, look, broken);
            due = due.min(next.ok_or(Phase::Idle)?);
        }
        if limits.silence.ends() {
            let broken = heard.chunks > 0;
            let next = self.silence.look(limits.silence, look, broken);
            due = due.min(next.ok_or(Phase::Silence)?);
        }
        if let Some(floor) = self.plan.throughput
            && self.begun
        {
            let (pieces, any) = (heard.pieces, heard.chunks > 0);
            let next = self.pace.look(floor, now, pieces, any, look.late);
            due = due.min(next.ok_or(Phase::Throughput)?);
        }
        Ok(due)
    }
}

// ===== impl Quiet =====

impl Quiet {
    const fn new(since: Span) -> Self {
        Self {
            since,
            more: Span::ZERO,
            excused: false,
        }
    }

    /// When to look again, or `None` if it lasted too long and was not `broken` meanwhile.
    fn look(&mut self, limit: Span, look: Look, broken: bool) -> Option<Span> {
        let Look { now, away, late } = look;
        if broken || !self.since.is_set() {
            *self = Self::new(now);
        } else if !away.is_zero() {
            self.since = self.since.plus(away);
            self.more = limit.eighth();
        }
        let mut over = self.since.plus(limit).plus(self.more);
        if over <= now && late && !self.excused {
            self.excused = true;
            let more = limit.eighth().max(TICK);
            self.more = self.more.plus(now.since(over)).plus(more);
            over = now.plus(more);
        }
        // What comes before the next look is known only then, and counts from then: that is why
        // a pause may last an eighth longer.
        let next = now.plus(limit.eighth().max(TICK));
        (over > now).then(|| over.min(next))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use buttress_core::Progress;
    use proptest::{collection::vec, prelude::*};

    use super::{Wake, Watch};
    use crate::{Limits, Phase, TimeoutLayer, plan::Plan, span::Span};

    const TIMED: [Phase; 3] = [Phase::FirstContent, Phase::Idle, Phase::Silence];
    type Setter = fn(TimeoutLayer<()>, Duration) -> TimeoutLayer<()>;

    const SETTERS: [Setter; 3] = [
        TimeoutLayer::first_content,
        TimeoutLayer::idle,
        TimeoutLayer::silence,
    ];

    /// What comes at which millisecond, and the limits of the three phases.
    #[derive(Debug)]
    struct Case {
        chunks: Vec<(u64, bool)>,
        limits: [Option<u64>; 3],
    }

    impl Case {
        /// When somebody who never stops waiting is cut, and for what.
        fn run(&self) -> Option<(u64, Phase)> {
            let mut layer = TimeoutLayer::new(());
            for (limit, set) in self.limits.iter().zip(SETTERS) {
                if let Some(limit) = limit {
                    layer = set(layer, Duration::from_millis(*limit));
                }
            }
            let plan = Plan::new(&layer.settings, &Limits::new(), None);
            let plan = plan.expect("no deadline");
            let (start, mut watch) = (plan.at(Span::ZERO)?, Watch::new(plan));
            let at = |ms| start + Duration::from_millis(ms);
            let (mut chunks, mut now, mut due) = (self.chunks.iter().peekable(), 0, None);
            loop {
                // The body comes before the timer.
                while let Some((_, content)) = chunks.next_if(|(ms, _)| *ms == now) {
                    watch.hear(if *content {
                        Progress::Content
                    } else {
                        Progress::Ping
                    });
                }
                while watch.is_new() || due == Some(now) {
                    match watch.look(at(now)) {
                        Wake::Cut(cut) => return Some((now, cut.phase)),
                        Wake::Never => due = None,
                        Wake::At(next) => {
                            // As timers do, on the next whole millisecond.
                            let micros = (next - start).as_micros();
                            due = Some(u64::try_from(micros.div_ceil(1000)).unwrap());
                        }
                    }
                }
                let next = chunks.peek().map(|(ms, _)| *ms);
                now = [next, due].into_iter().flatten().min()?;
            }
        }

        /// How long this phase has waited by then.
        fn waited(&self, phase: Phase, by: u64) -> Option<u64> {
            let came = |content: bool| {
                let chunks = self.chunks.iter().take_while(|(ms, _)| *ms <= by);
                chunks
                    .filter(move |chunk| chunk.1 || !content)
                    .map(|chunk| chunk.0)
            };
            match phase {
                Phase::FirstContent if came(true).next().is_some() => None,
                Phase::FirstContent => Some(by),
                Phase::Idle if self.limits[0].is_some() => Some(by - came(true).last()?),
                Phase::Idle => Some(by - came(true).last().unwrap_or(0)),
                _ => Some(by - came(false).last().unwrap_or(0)),
            }
        }
    }

    fn cases() -> impl Strategy<Value = Case> {
        let chunk = (prop_oneof![0..30_u64, 0..3000_u64], any::<bool>());
        let limit = || proptest::option::of(prop_oneof![0..20_u64, 0..2000_u64]);
        (vec(chunk, 0..40), [limit(), limit(), limit()]).prop_map(|(waits, limits)| {
            let mut now = 0;
            let chunks = waits.into_iter().map(|(wait, content)| {
                now += wait;
                (now, content)
            });
            Case {
                chunks: chunks.collect(),
                limits,
            }
        })
    }

    proptest! {
        #[test]
        fn nothing_is_cut_before_its_limit_nor_later_than_an_eighth_after_it(case in cases()) {
            let end = case.run();
            if let Some((at, phase)) = end {
                let k = TIMED.iter().position(|timed| *timed == phase).unwrap();
                let limit = case.limits[k].unwrap();
                prop_assert!(case.waited(phase, at).unwrap() >= limit, "{phase} at {at}");
            }
            let last = case.chunks.last().map_or(0, |chunk| chunk.0);
            // Before each chunk, and at the end: whatever waited longer was cut by then.
            let mut times: Vec<u64> = case.chunks.iter().map(|chunk| chunk.0.saturating_sub(1)).collect();
            times.push(last + 10_000);
            for by in times {
                let by = end.map_or(by, |(at, _)| by.min(at));
                for (phase, limit) in TIMED.into_iter().zip(case.limits) {
                    if let (Some(limit), Some(waited)) = (limit, case.waited(phase, by)) {
                        let most = match phase {
                            Phase::FirstContent => limit,
                            _ => limit + (limit / 8).max(1) + 1,
                        };
                        prop_assert!(waited <= most, "{phase}: {waited} ms by {by}, {end:?}");
                    }
                }
            }
        }
    }
}
