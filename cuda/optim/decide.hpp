#pragma once
// The CUDA twins of `decide` and `report`.
#include "sherd/optim/interface.hpp"

namespace sherd::cuda {

void decide(const optim::Vote& vote, const optim::DecideConfig& config, optim::Control& control,
            StreamRef stream);
void report(const optim::Vote& vote, optim::EvalReport& report, StreamRef stream);

}  // namespace sherd::cuda
