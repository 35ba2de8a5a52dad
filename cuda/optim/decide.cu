#include "cuda/optim/decide.hpp"

#include "cuda/device/check.hpp"
#include "cuda/device/queue.hpp"
#include "cuda/kernels/run.cuh"
#include "sherd/optim/decide_math.hpp"

namespace sherd::cuda {
namespace {

__global__ void decide_kernel(const optim::Vote* vote, optim::DecideConfig config,
                              optim::Control* control) {
  optim::judge(optim::measured(*vote), config, *control);
}
__global__ void report_kernel(const optim::Vote* vote, optim::EvalReport* report) {
  *report = optim::report_of(*vote);
}

}  // namespace

void decide(const optim::Vote& vote, const optim::DecideConfig& config, optim::Control& control,
            StreamRef stream) {
  launch(decide_kernel, 1, 1, stream_of(stream), &vote, config, &control);
  check_launch("decide (launch)");
}

void report(const optim::Vote& vote, optim::EvalReport& report, StreamRef stream) {
  launch(report_kernel, 1, 1, stream_of(stream), &vote, &report);
  check_launch("report (launch)");
}

}  // namespace sherd::cuda
