#include <algorithm>
#include <array>

#include "kernels/cpu/matmul.hpp"
#include "kernels/cpu/panel.hpp"

namespace sherd::kernels::cpu {

void bias_gradient(View d_out, const Grad& to, StreamRef stream) {
  constexpr std::int64_t width = 256;  // columns a task; their sums stay in the first cache
  const std::int64_t cols = d_out.shape.cols;
  stream.workers().run((cols + width - 1) / width, [&](std::int64_t index, int) {
    alignas(64) std::array<float, width> sums{};
    const std::int64_t first = index * width, count = std::min(width, cols - first);
    for (std::int64_t row = 0; row < d_out.shape.rows; ++row) {
      add_widened(source(d_out).at(row, first), sums.data(), count);
    }
    const Sink out = sink(to.to).at(0, first);
    if (to.mode == Write::add) add_widened({out.data, out.type, out.stride}, sums.data(), count);
    if (to.to.type == DType::bf16) {
      narrow_stochastic(sums.data(), reinterpret_cast<bfloat16*>(out.data), count, to.round,
                        static_cast<std::uint64_t>(first));
    } else {
      narrow(sums.data(), width, {1, count}, out);
    }
  });
}

}  // namespace sherd::kernels::cpu
