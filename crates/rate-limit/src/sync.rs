//! What the threads of a cell share. Inside of a model of this crate's tests it is loom's, without a
//! flag for the compiler.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::AtomicU64;

#[cfg(test)]
pub(crate) use self::modelled::{AtomicU64, model};

#[cfg(test)]
mod modelled {
    use std::{
        cell::Cell,
        sync::atomic::{self, Ordering},
    };

    use loom::sync::atomic as loomed;

    thread_local! {
        // All threads of a model run on one.
        static MODEL: Cell<bool> = const { Cell::new(false) };
    }

    #[derive(Debug)]
    pub(crate) enum AtomicU64 {
        Real(atomic::AtomicU64),
        Modelled(loomed::AtomicU64),
    }

    /// Runs this in every order in which its threads can do it, as far as the memory model goes.
    pub(crate) fn model(f: impl Fn() + Send + Sync + 'static) {
        MODEL.set(true);
        loom::model(f);
        MODEL.set(false);
    }

    macro_rules! either {
        ($self:ident, $number:ident => $do:expr) => {
            match $self {
                Self::Real($number) => $do,
                Self::Modelled($number) => $do,
            }
        };
    }

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            if MODEL.get() {
                Self::Modelled(loomed::AtomicU64::new(value))
            } else {
                Self::Real(atomic::AtomicU64::new(value))
            }
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            either!(self, number => number.load(order))
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            either!(self, number => number.store(value, order));
        }

        pub(crate) fn swap(&self, value: u64, order: Ordering) -> u64 {
            either!(self, number => number.swap(value, order))
        }

        pub(crate) fn compare_exchange(
            &self,
            current: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            either!(self, number => number.compare_exchange(current, new, success, failure))
        }

        pub(crate) fn compare_exchange_weak(
            &self,
            current: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            either!(self, number => number.compare_exchange_weak(current, new, success, failure))
        }
    }
}
