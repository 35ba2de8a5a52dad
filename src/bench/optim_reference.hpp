#pragma once
// One update of one element in fp64, from the formulas in the papers, and how far fp32 may be off.
#include "sherd/kernels/update.hpp"

namespace sherd::bench {

enum class Rule : std::uint8_t { adamw, lion, sgd };

struct Element {
  double grad = 0;  // as stored, scaled
  double master = 0, m = 0, v = 0;
};

struct Updated {
  double master = 0, m = 0, v = 0;
  double master_error = 0, m_error = 0, v_error = 0;  // bounds on an fp32 evaluation
  bool sign_open = false;  // lion: the sign is within rounding of zero, either step is right
};

[[nodiscard]] Updated reference_update(Rule rule, const Element& before,
                                       const kernels::UpdateArgs& args);

/// Is `after` what `before` must become, bf16 copy included?
[[nodiscard]] bool is_right(const Updated& expected, const Element& after, bfloat16 param);

}  // namespace sherd::bench
