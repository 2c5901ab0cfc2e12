//! Load generators and side-by-side runs: every figure in the docs comes from here.
