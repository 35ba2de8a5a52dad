#pragma once
// The optimizer row's part of a device library: one thread on the compute queue.
#include "sherd/optim/control.hpp"

namespace sherd::optim {

struct Interface {
  decltype(optim::decide)* decide;
  decltype(optim::report)* report;
};

}  // namespace sherd::optim
