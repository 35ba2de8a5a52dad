#include <cmath>
#include <limits>

#include "sherd/base/errors.hpp"
#include "sherd/optim/control.hpp"
#include "sherd/optim/decide_math.hpp"
#include "sherd/optim/interface.hpp"

namespace sherd::optim {
namespace {

bool is_dynamic(const PrecisionConfig& config) {
  return config.precision == Precision::fp16 && config.loss_scale == 0;
}

const Interface& twin(StreamRef stream) {
  return *static_cast<const Interface*>(stream.library().optim);
}

bool is_float_scale(double scale) {
  return scale >= std::numeric_limits<float>::min() && scale <= static_cast<double>(scale_max);
}

}  // namespace

void decide(const Vote& vote, const DecideConfig& config, Control& control, StreamRef stream) {
  if (stream.kind() != DeviceKind::cpu) return twin(stream).decide(vote, config, control, stream);
  judge(measured(vote), config, control);
}

void report(const Vote& vote, EvalReport& report, StreamRef stream) {
  if (stream.kind() != DeviceKind::cpu) return twin(stream).report(vote, report, stream);
  report = report_of(vote);
}

Control initial(const PrecisionConfig& config) {
  Control control;
  if (is_dynamic(config)) {
    expects(is_float_scale(config.loss_scale_init) && is_float_scale(config.loss_scale_min) &&
                config.loss_scale_init >= config.loss_scale_min,
            "initial: got loss_scale_init and loss_scale_min, need 0 < min <= init <= 2^100");
    control.scale = static_cast<float>(config.loss_scale_init);
    control.hysteresis = static_cast<std::uint32_t>(config.loss_scale_hysteresis);
  } else if (config.loss_scale != 0) {
    expects(is_float_scale(config.loss_scale),
            "initial: got loss_scale out of range, need 0 (dynamic) or up to 2^100");
    control.scale = static_cast<float>(config.loss_scale);
  }
  return control;
}

DecideConfig decide_config(const PrecisionConfig& precision, const OptimizerConfig& optimizer,
                           double nominal_tokens) {
  constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max() - 1;
  expects(nominal_tokens > 0 && is_finite(nominal_tokens),
          "decide_config: got nominal_tokens not positive, need the tokens heads divide by");
  expects(precision.loss_scale_window >= 1 && precision.loss_scale_window <= most &&
              precision.loss_scale_hysteresis >= 1 && precision.loss_scale_hysteresis <= most,
          "decide_config: got a loss scale window or hysteresis out of range, need 1 to 2^32 - 2");
  return {.nominal_tokens = nominal_tokens,
          .clip_grad_norm = optimizer.clip_grad_norm,
          .dynamic = is_dynamic(precision),
          .scale_min = static_cast<float>(precision.loss_scale_min),
          .window = static_cast<std::uint32_t>(precision.loss_scale_window),
          .hysteresis = static_cast<std::uint32_t>(precision.loss_scale_hysteresis)};
}

}  // namespace sherd::optim
