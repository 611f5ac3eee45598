//! From uploaded profiles to series: relabel, validate, normalise, split
