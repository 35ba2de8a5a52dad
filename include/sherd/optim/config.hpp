#pragma once
// Number formats, loss scaling and the optimizer.
#include <cstdint>

namespace sherd::optim {

enum class Precision : std::uint8_t { fp32, bf16, fp16 };
enum class GradDType : std::uint8_t { fp32, bf16 };
enum class Master : std::uint8_t { fp32, split };
enum class Moments : std::uint8_t { fp32, bf16, int8 };
enum class FrozenDType : std::uint8_t { param, int8 };
struct PrecisionConfig {
  Precision precision = Precision::fp32;  // of stored parameters and activations
  GradDType grad_dtype = GradDType::fp32;
  Master master = Master::fp32;     // split: a bf16 parameter and what it leaves, together exact
  Moments moments = Moments::fp32;  // bf16 rounds stochastically; int8 by blocks of 256
  FrozenDType frozen_dtype = FrozenDType::param;  // int8: by blocks of 256, widened before use
  double loss_scale = 0;                          // 0: dynamic (fp16 only; else 1)
  double loss_scale_init = 65536;
  std::int64_t loss_scale_window = 1000;
  std::int64_t loss_scale_hysteresis = 2;
  double loss_scale_min = 1;
};

enum class Kind : std::uint8_t { adamw, lion, sgd };
enum class Schedule : std::uint8_t { constant, cosine, linear, wsd };
struct OptimizerConfig {
  Kind optimizer = Kind::adamw;
  double lr = 3e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decay_all = false;     // decay vectors too
  double clip_grad_norm = 0;  // 0: off
  Schedule schedule = Schedule::constant;
  std::int64_t warmup_steps = 0;
  double min_lr_ratio = 0;  // floor of the schedule, as a part of lr
};

}  // namespace sherd::optim
