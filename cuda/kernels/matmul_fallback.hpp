#pragma once
// Our own part of products: what the library has no algorithm for, and what follows a product.
#include "cuda/kernels/typed.hpp"
#include "sherd/device/stream.hpp"
#include "sherd/kernels/matmul.hpp"

namespace sherd::cuda {

/// args.out[m,n] fp32 (=|+=) op(a)·op(b) of any float types: one thread an element, k ascending.
/// Ignores bias, GELU and rounding.
void plain_product(const kernels::MatmulArgs& args, StreamRef stream);

/// What follows an fp32 product `sum`, in the order of MatmulArgs: bias, what was there, GELU,
/// rounding.
///
/// **Memory** `sum` may be args.out; then nothing is added from there.
struct FinishArgs {
  View sum{};                                    // [rows, n] fp32
  const kernels::MatmulArgs* product = nullptr;  // its views hold these rows only
  std::int64_t first_row = 0;                    // of the rows, in the whole result
};
void finish_product(const FinishArgs& args, StreamRef stream);

}  // namespace sherd::cuda
