#pragma once
// One fused pass per optimizer over a tile: gradient in, state in place, stored parameter out.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

/// Lives in the control buffer on the device; written by `decide` and `feed`, read by the update
/// kernels.
struct UpdateScalars {
  float factor = 1;  // gradient multiplier: 1 / (tokens · scale) · nominal · clip
  float lr = 0;
  double bias1 = 1, bias2 = 1;  // 1 - beta^(applied + 1)
  std::uint32_t skip = 0;       // non-zero: no state changes; a 16-bit copy of it is made again
  std::uint64_t applied = 0;    // updates before this one; keys stochastic rounding
};

/// Elements are independent but for the scale of a q8 block: a range cut at multiples of 256, in
/// any order and on any device, gives the same bits.
///
/// **Memory** bytes read and written per element: gradient 2 (fp32 4), fp32 master 8 and its 16-bit
/// copy 2, or split master 8; for each moment fp32 8, bf16 4, q8 2.03. AdamW with a bf16 gradient
/// and parameter moves 28, 20, 16.06; split 26, 18, 14.06. q8 views start on multiples of 4 bytes.
/// A skipped step writes no state, and makes a 16-bit copy of it again.
/// **Units** a stored bf16 parameter is its master to nearest, ties away from zero; fp16 to even.
struct UpdateArgs {
  View grad;       // [1, n] fp32 or bf16, scaled
  View master;     // [1, n] fp32, in place; u16: what the bf16 `param` leaves of it (split)
  View m, v;       // [1, n] of one type: fp32, bf16 (rounded stochastically) or q8 (then n is a
                   // multiple of 256); v absent for lion and sgd; m absent for sgd without momentum
  View param;      // [1, n] 16-bit copy out; absent where the master is the parameter; with a split
                   // master bf16, in place
  Philox round{};  // of bf16 moments: with `applied` and the element's index, its bits
  std::uint64_t first = 0;  // index of element 0 for the random bits
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0;
  const UpdateScalars* scalars = nullptr;
};

/// Is the master weight its stored parameter and what that leaves of it?
[[nodiscard]] inline bool is_split(const UpdateArgs& args) {
  return args.master.type == DType::u16;
}

/// AdamW (Loshchilov & Hutter 2019, Algorithm 2), decoupled decay lr·wd·p before the step, as
/// PyTorch computes it.
void adamw(const UpdateArgs& args, StreamRef stream);
/// Lion (Chen et al. 2023, Algorithm 2).
void lion(const UpdateArgs& args, StreamRef stream);
/// SGD with momentum beta1 (Sutskever et al. 2013, PyTorch's form: m = beta1·m + g; p -= lr·m),
/// coupled decay.
void sgd(const UpdateArgs& args, StreamRef stream);

/// Makes the stored 16-bit parameter of fp32 master weights as an update does, and, where
/// `remainder` is given, what it leaves of them; on the CPU only.
///
/// **Shapes** master [1, n] fp32; param [1, n] bf16 or fp16; remainder [1, n] u16, needs bf16.
/// **Errors** UsageError on other types or sizes, or a device's stream; nothing changed.
void store_master(View master, View param, View remainder, StreamRef stream);
/// The inverse: exact with a remainder (but for NaN), else the parameter widened; by this thread.
void load_master(View param, View remainder, View out);

}  // namespace sherd::kernels
