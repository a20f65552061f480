//! Memory that forgets: what is freed is wiped first.
//!
//! What a person types passes through buffers that are not ours (HTTP, JSON). So this process
//! wipes them all, whoever frees them.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, with a clean slate after each use.
#[derive(Debug, Clone, Copy)]
pub struct Wiping;

// SAFETY: memory comes from the system's allocator and goes back to it with the same layout. The
// default `realloc` allocates anew, copies, and frees (and so wipes) the old place.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller owns these bytes and gives them up.
        unsafe { place.write_bytes(0, layout.size()) };
        // Without this the compiler may leave out a write that nobody reads.
        std::hint::black_box(place);
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(place, layout) };
    }
}
