//! The words of `core`, proven on whole stacks.
