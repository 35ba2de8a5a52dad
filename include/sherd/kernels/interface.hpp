#pragma once
// The kernels row's part of a device library: the twin of every public kernel. The public function
// has checked the arguments; a twin only computes.
#include "sherd/kernels/attention.hpp"
#include "sherd/kernels/attention_cached.hpp"
#include "sherd/kernels/block8.hpp"
#include "sherd/kernels/cross_entropy.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/embedding.hpp"
#include "sherd/kernels/matmul.hpp"
#include "sherd/kernels/norm_layer.hpp"
#include "sherd/kernels/norm_rms.hpp"
#include "sherd/kernels/reduction.hpp"
#include "sherd/kernels/rotary.hpp"
#include "sherd/kernels/swiglu.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::kernels {

struct Interface {
  decltype(kernels::attention)* attention;
  decltype(kernels::attention_backward)* attention_backward;
  decltype(kernels::cache_append)* cache_append;
  decltype(kernels::attention_cached)* attention_cached;
  decltype(kernels::cross_entropy)* cross_entropy;
  decltype(kernels::squared_error)* squared_error;
  decltype(kernels::gelu)* gelu;
  decltype(kernels::gelu_backward)* gelu_backward;
  decltype(kernels::add)* add;
  decltype(kernels::dropout)* dropout;
  decltype(kernels::cast)* cast;
  decltype(kernels::scale)* scale;
  decltype(kernels::zero)* zero;
  decltype(kernels::accumulate)* accumulate;
  decltype(kernels::fill_normal)* fill_normal;
  decltype(kernels::embedding)* embedding;
  decltype(kernels::embedding_backward)* embedding_backward;
  decltype(kernels::matmul)* matmul;
  decltype(kernels::bias_gradient)* bias_gradient;
  decltype(kernels::layer_norm)* layer_norm;
  decltype(kernels::layer_norm_backward)* layer_norm_backward;
  decltype(kernels::rms_norm)* rms_norm;
  decltype(kernels::rms_norm_backward)* rms_norm_backward;
  decltype(kernels::rotary)* rotary;
  decltype(kernels::rotary_backward)* rotary_backward;
  decltype(kernels::swiglu)* swiglu;
  decltype(kernels::swiglu_backward)* swiglu_backward;
  decltype(kernels::square_norm)* square_norm;
  decltype(kernels::fold)* fold;
  decltype(kernels::adamw)* adamw;
  decltype(kernels::lion)* lion;
  decltype(kernels::sgd)* sgd;
  decltype(kernels::decode_blocks)* decode_blocks;
  /// The libraries and paths behind products and attention: part of the numerics key.
  std::string (*path)(DType operands);
  /// For benches alone, since it waits for the device: seconds of the fastest of all algorithms the
  /// library itself proposes for the bare product, each timed `rounds` times; 0: it has none.
  double (*best_product)(const MatmulArgs& args, StreamRef stream, int rounds);
};

[[nodiscard]] inline bool on_device(StreamRef stream) { return stream.kind() != DeviceKind::cpu; }
[[nodiscard]] inline const Interface& twin(StreamRef stream) {
  return *static_cast<const Interface*>(stream.library().kernels);
}

/// What scratch formulas ask of the stream that they serve.
[[nodiscard]] inline Target target_of(StreamRef stream) {
  if (on_device(stream)) return {.kind = stream.kind()};
  return {.threads = stream.workers().threads()};
}

}  // namespace sherd::kernels
