#pragma once
// Where a parameter gradient goes, and how.
#include "sherd/base/philox.hpp"
#include "sherd/base/view.hpp"

namespace sherd {

/// fp32 targets are exact accumulations; bf16 targets are rounded stochastically with bits `round`
/// of the element.
struct Grad {
  View to{};
  Write mode = Write::set;
  Philox round{};
};

}  // namespace sherd
