//! Where the time of a step goes.
//!
//! Only with the feature `phases`, for `cargo xtask roofline`; without it [`enter`] is nothing.

/// A part of a step of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Weights laid out for products.
    Layout,
    /// `x·W_xh`, of the whole window.
    Input,
    /// `h[t-1]·W_hh` and the cell's equations, step by step.
    Recurrence,
    /// The logits.
    Output,
    /// Softmax and cross-entropy, with its gradient.
    Loss,
    /// The gradient by the last layer's outputs.
    OutputBackward,
    /// The reverse of the recurrence.
    RecurrenceBackward,
    /// The gradient by a layer's inputs.
    InputBackward,
    /// The gradients by all matrices.
    WeightGradients,
    /// Transforms and optimizer.
    Optimizer,
    /// Everything else.
    Rest,
}

impl Phase {
    /// All phases, as they follow each other.
    pub const ALL: [Self; 11] = [
        Self::Layout,
        Self::Input,
        Self::Recurrence,
        Self::Output,
        Self::Loss,
        Self::OutputBackward,
        Self::RecurrenceBackward,
        Self::InputBackward,
        Self::WeightGradients,
        Self::Optimizer,
        Self::Rest,
    ];

    /// As a table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layout => "layout",
            Self::Input => "input projection",
            Self::Recurrence => "recurrence",
            Self::Output => "output",
            Self::Loss => "loss",
            Self::OutputBackward => "output backward",
            Self::RecurrenceBackward => "recurrence backward",
            Self::InputBackward => "input backward",
            Self::WeightGradients => "weight gradients",
            Self::Optimizer => "optimizer",
            Self::Rest => "rest",
        }
    }
}

/// The phase that this thread is in until this is dropped; then it is back in the one before.
#[must_use]
#[derive(Debug)]
pub struct Entered {
    #[cfg(feature = "phases")]
    before: Phase,
}

/// Charges this thread's time to `phase` until what it returns is dropped.
#[inline(always)]
pub fn enter(_phase: Phase) -> Entered {
    Entered {
        #[cfg(feature = "phases")]
        before: clock::switch(_phase),
    }
}

#[cfg(feature = "phases")]
impl Drop for Entered {
    fn drop(&mut self) {
        clock::switch(self.before);
    }
}

#[cfg(feature = "phases")]
pub use clock::take;

#[cfg(feature = "phases")]
mod clock {
    use std::cell::RefCell;
    use std::time::{Duration, Instant};

    use super::Phase;

    struct Clock {
        phase: Phase,
        since: Instant,
        spent: [Duration; Phase::ALL.len()],
    }

    thread_local! {
        static CLOCK: RefCell<Clock> = RefCell::new(Clock {
            phase: Phase::Rest,
            since: Instant::now(),
            spent: [Duration::ZERO; Phase::ALL.len()],
        });
    }

    /// Returns the phase that ends.
    pub(super) fn switch(phase: Phase) -> Phase {
        CLOCK.with_borrow_mut(|clock| {
            let now = Instant::now();
            clock.spent[clock.phase as usize] += now - clock.since;
            clock.since = now;
            std::mem::replace(&mut clock.phase, phase)
        })
    }

    /// What this thread spent in each of [`Phase::ALL`] since this was last called.
    pub fn take() -> [Duration; Phase::ALL.len()] {
        let phase = switch(Phase::Rest);
        switch(phase);
        CLOCK.with_borrow_mut(|clock| std::mem::take(&mut clock.spent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_lie_in_the_order_of_their_numbers() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index, "{}", phase.name());
        }
        let names: std::collections::BTreeSet<_> = Phase::ALL.map(Phase::name).into();
        assert_eq!(names.len(), Phase::ALL.len(), "each has a name of its own");
    }

    #[cfg(feature = "phases")]
    #[test]
    fn time_goes_to_the_innermost_phase() {
        use std::time::Duration;

        let nap = Duration::from_millis(20);
        take();
        {
            let _outer = enter(Phase::Recurrence);
            {
                let _inner = enter(Phase::Input);
                std::thread::sleep(nap);
            }
            std::thread::sleep(nap);
        }
        let spent = take();
        assert!(nap <= spent[Phase::Input as usize] && nap <= spent[Phase::Recurrence as usize]);
        assert!(spent[Phase::Rest as usize] < nap);
        assert_eq!(take()[Phase::Input as usize], Duration::ZERO);
    }
}
