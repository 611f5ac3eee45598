//! Profiles drawn as text, for tests.
