//! Operators that move elements without computing with them.

pub mod center_crop_pad;
pub mod compress;
pub mod concat;
pub mod constant;
pub mod expand;
pub mod gather;
pub mod gather_elements;
pub mod identity;
pub mod non_zero;
pub mod one_hot;
pub mod pad;
pub mod reshape;
pub mod reverse_sequence;
pub mod scatter;
pub mod shape_of;
pub mod slice;
pub mod space_depth;
pub mod split;
pub mod squeeze;
pub mod top_k;
pub mod transpose;
pub mod trilu;
