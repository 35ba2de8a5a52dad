// All formats of an optimizer's state on every instruction set this machine has.
#include <doctest/doctest.h>
#include <hwy/targets.h>

#include "kernels/update_state.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

std::vector<UpdateState> run_everything() {
  device::Stream stream(1);
  std::vector<UpdateState> all;
  for (const Rule rule : rules) {
    for (const Formats& formats : all_formats()) {
      const std::int64_t n = formats.moments == DType::q8 ? 66 * 256 : 4099;
      all.emplace_back(rule, n, formats);
      for (int step = 1; step <= 3; ++step) all.back().update(scalars_at(step, 1e-2f), stream);
    }
  }
  return all;
}

}  // namespace

TEST_CASE("updates give the same bits in every format on every instruction set") {
  const std::vector<UpdateState> best = run_everything();
  for (const std::int64_t target : {HWY_SCALAR, HWY_AVX2, HWY_AVX3}) {
    if ((hwy::SupportedTargets() & target) == 0) continue;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    const std::vector<UpdateState> got = run_everything();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    for (std::size_t i = 0; i < best.size(); ++i) {
      CHECK_MESSAGE(got[i] == best[i], hwy::TargetName(target) << " combination " << i);
    }
  }
}
