//! RPMB frames as JEDEC defines them (JESD84-B51, 6.6.22).
