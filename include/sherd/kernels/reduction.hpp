#pragma once
// Sums over gradients: the squared norm and the fold of many ranks' contributions.
#include <span>

#include "sherd/device/stream.hpp"
#include "sherd/kernels/exact_sum.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

inline constexpr std::int64_t quantum =
    256;  // elements; the unit of every partition and of exact partial sums

/// sum += Σ x² by quanta (fp64 in order inside one, exact across) and the count of elements not
/// finite. A quantum holding such an element adds nothing to the squares. x: [1, n] fp32 or bf16, n
/// a multiple of the quantum.
void square_norm(View x, NormSum& sum, StreamRef stream);

/// How contributions meet what is there. fast: out (=|+=) ((s0 + s1) + s2) …; left: out = ((out +
/// s0) + s1) …
enum class FoldOrder : std::uint8_t { fast, left };
struct FoldArgs {
  std::span<const std::byte* const>
      sources;  // each n elements of out's type, in rank order; may include out itself
  View out;     // [1, n] fp32, bf16, or i64
  Write mode = Write::set;
  FoldOrder order = FoldOrder::fast;
  const Philox* round = nullptr;  // bf16: sums in fp32, one stochastic rounding with bits first + i
  std::uint64_t first = 0;        // index of out[0] for the random bits
};
/// On the CPU by the calling thread alone: folds run on the net lane. The sources' addresses are
/// read before it returns.
void fold(const FoldArgs& args, StreamRef stream);

}  // namespace sherd::kernels
