//! What may pass between the response and the end of its body.
//!
//! Pure: it is told what came, and handed the time when it is asked. It is asked when somebody
//! begins to wait, when content begins, and whenever its timer has run out; never for a chunk.

use std::{mem, time::Duration};

use buttress_core::Progress;
use tokio::time::Instant;

use crate::{
    pace::Pace,
    plan::{Alarm, Cut, Plan, after},
};

/// A reader who comes so much later than the timer was not waiting. Timers are late by themselves,
/// but less.
const AWAY: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct Watch {
    end: Option<Alarm>,
    first: Option<Quiet>,
    idle: Option<Quiet>,
    silence: Option<Quiet>,
    pace: Option<Pace>,
    pings: bool,
    idle_later: bool,
    begun: bool,
    new: bool,
    heard: Heard,
    looked: bool,
    // When it wanted to look again.
    due: Option<Instant>,
}

/// What came since the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    anything: bool,
    content: bool,
    pieces: u32,
}

/// A pause that something has to break.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    cut: Cut,
    since: Option<Instant>,
    spared: bool,
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
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            end: plan.end,
            first: plan.first.map(|first| Quiet {
                // When it was called.
                since: Some(first.at - first.cut.limit),
                ..Quiet::new(first.cut)
            }),
            idle: plan.idle.map(Quiet::new),
            silence: plan.silence.map(Quiet::new),
            pace: plan.throughput.map(Pace::new),
            pings: plan.pings,
            idle_later: plan.idle_later,
            begun: false,
            new: true,
            heard: Heard::default(),
            looked: false,
            due: None,
        }
    }

    /// Something came.
    #[inline]
    pub(crate) fn hear(&mut self, progress: Progress) {
        self.heard.anything = true;
        if progress.is_content() {
            self.heard.content = true;
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
        let heard = mem::take(&mut self.heard);
        // What came while nobody read may have more behind it that nobody fetched. Where nothing
        // came, all of the time was the upstream's.
        let away = match self.due {
            Some(due) if heard.anything => now.saturating_duration_since(due),
            _ => Duration::ZERO,
        };
        let away = if away > AWAY { away } else { Duration::ZERO };
        let next = self.phases(now, heard, away);
        self.new = false;
        self.looked = true;
        match next {
            Ok(due) => {
                self.due = due;
                due.map_or(Wake::Never, Wake::At)
            }
            Err(cut) => Wake::Cut(cut),
        }
    }

    fn phases(
        &mut self,
        now: Instant,
        heard: Heard,
        away: Duration,
    ) -> Result<Option<Instant>, Cut> {
        let end = match self.end {
            Some(end) if end.at <= now => return Err(end.cut),
            end => end.map(|end| end.at),
        };
        let first = match &mut self.first {
            Some(first) if !self.begun => {
                // If it is over at the first look, nobody asked the body for anything before.
                let away = if self.looked {
                    away
                } else {
                    first.over_by(now)
                };
                first.look(now, false, away)?
            }
            _ => None,
        };
        let idle = match &mut self.idle {
            Some(idle) if self.begun || !self.idle_later => {
                let broken = heard.content || (self.pings && heard.anything);
                idle.look(now, broken, away)?
            }
            _ => None,
        };
        let silence = match &mut self.silence {
            Some(silence) => silence.look(now, heard.anything, away)?,
            None => None,
        };
        let pace = match &mut self.pace {
            Some(pace) if self.begun => pace.look(now, heard.pieces, !away.is_zero())?,
            _ => None,
        };
        let all = [end, first, idle, silence, pace];
        Ok(all.into_iter().flatten().min())
    }
}

// ===== impl Quiet =====

impl Quiet {
    const fn new(cut: Cut) -> Self {
        Self {
            cut,
            since: None,
            spared: false,
        }
    }

    fn over_by(&self, now: Instant) -> Duration {
        let over = self.since.and_then(|since| after(since, self.cut.limit));
        over.map_or(Duration::ZERO, |over| now.saturating_duration_since(over))
    }

    /// Whether it has lasted too long, if it was not `broken` meanwhile. Else when to look again.
    fn look(&mut self, now: Instant, broken: bool, away: Duration) -> Result<Option<Instant>, Cut> {
        let limit = self.cut.limit;
        let since = match self.since {
            Some(since) if !broken => {
                let spare = !away.is_zero() && !mem::replace(&mut self.spared, true);
                since + away + if spare { limit / 8 } else { Duration::ZERO }
            }
            _ => {
                self.spared = false;
                now
            }
        };
        self.since = Some(since);
        let Some(over) = after(since, limit) else {
            return Ok(None);
        };
        if over <= now {
            return Err(self.cut);
        }
        // What comes before the next look is known only then, and counts from then: that is why
        // a pause may last an eighth longer.
        let next = now + (limit / 8).max(Duration::from_millis(1));
        Ok(Some(over.min(next)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use buttress_core::Progress;
    use proptest::{collection::vec, prelude::*};
    use tokio::time::Instant;

    use super::{Wake, Watch};
    use crate::{
        Phase,
        plan::{Alarm, Cut, Plan},
    };

    const TIMED: [Phase; 3] = [Phase::FirstContent, Phase::Idle, Phase::Silence];

    /// What comes at which millisecond, and the limits of the three phases.
    #[derive(Debug)]
    struct Case {
        chunks: Vec<(u64, bool)>,
        limits: [Option<u64>; 3],
    }

    impl Case {
        /// When somebody who never stops waiting is cut, and for what.
        fn run(&self) -> Option<(u64, Phase)> {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let cut = |k: usize| {
                self.limits[k].map(|limit| Cut {
                    phase: TIMED[k],
                    limit: Duration::from_millis(limit),
                    neutral: false,
                })
            };
            let first = cut(0).map(|cut| Alarm {
                at: start + cut.limit,
                cut,
            });
            let mut watch = Watch::new(&Plan {
                end: None,
                first,
                head: None,
                idle: cut(1),
                silence: cut(2),
                throughput: None,
                pings: false,
                idle_later: first.is_some(),
                deadline: None,
            });
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
