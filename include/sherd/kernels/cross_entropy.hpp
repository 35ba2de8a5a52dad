#pragma once
// Softmax cross-entropy of one chunk of rows, forward and gradient in place.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/exact_sum.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

inline constexpr std::int32_t ignored_label = -100;

struct CrossEntropyArgs {
  View logits;  // [rows, vocabulary] fp32; undefined afterwards, or their own gradient
  View labels;  // [rows, 1] i32; ignored_label counts nothing and gives a zero gradient
  const float* scale = nullptr;  // loss scale on the device; null: loss only
  double nominal = 1;            // gradient = (softmax - onehot) · scale / nominal
  LossSum* sums =
      nullptr;      // += one exact term per chunk (fp64 over rows in order) and the counted labels
  View d_logits{};  // where the gradient goes, as logits in any float type (a device only); absent:
                    // in place of the logits
};
void cross_entropy(const CrossEntropyArgs& args, StreamRef stream);

/// Mean-squared error of one chunk: term 0.5·Σ(out - target)², gradient (out -
/// target)·scale/nominal, "tokens" = rows. A row whose first target is NaN counts nothing.
struct SquaredErrorArgs {
  View out, target;  // [rows, cols] fp32
  View d_out;        // [rows, cols] fp32, or absent
  const float* scale = nullptr;
  double nominal = 1;
  LossSum* sums = nullptr;
};
void squared_error(const SquaredErrorArgs& args, StreamRef stream);

}  // namespace sherd::kernels
