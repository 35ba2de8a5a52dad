#pragma once
// An optimizer's state in one combination of formats: filled from samples, and read back for the
// reference.
#include "bench/buffers.hpp"
#include "bench/optim_reference.hpp"

namespace sherd::bench {

struct OptimFormat {
  DType moments = DType::f32;
  bool split = false;
};

/// Room for any format of `n` elements, a multiple of 256; formats reuse it.
class OptimState {
 public:
  OptimState(Buffers& buffers, std::int64_t n);
  [[nodiscard]] static Bytes cost(std::int64_t n);

  /// The first values, the same for every format up to its rounding.
  [[nodiscard]] kernels::UpdateArgs fill(Rule rule, OptimFormat format, StreamRef stream);
  /// Elements that one update by `args` did not make what they must become.
  [[nodiscard]] std::int64_t count_wrong(Rule rule, const kernels::UpdateArgs& args,
                                         StreamRef stream) const;
  /// Read-modify-write of the fp32 arrays, 24 bytes an element.
  void touch(StreamRef stream) const { touch_three(master_, m_, v_, stream); }

 private:
  View grad_, master_, m_, v_, param_;
};

/// Read and written per element: bf16 gradient 2, and of master and moments twice what they take;
/// the parameter is only written, unless it is half of a split master.
[[nodiscard]] double bytes_moved(Rule rule, OptimFormat format);

}  // namespace sherd::bench
