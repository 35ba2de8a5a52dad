// All formats of an optimizer's state on every instruction set this machine has.
#include <doctest/doctest.h>
#include <hwy/targets.h>

#include "kernels/update_state.hpp"
#include "sherd/kernels/block8.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

/// Every code of blocks with other scales, in every type, and the blocks coded again.
std::vector<Cells> run_blocks() {
  device::Stream stream(1);
  constexpr std::int64_t n = 66 * 256;
  Cells values(n, DType::f32, true, [](std::int64_t i) { return noise(7, 1e-3 * double(i))(i); });
  Cells blocks(n, DType::q8, true, noise(8));
  std::vector<Cells> all;
  for (const DType type : float_types) {
    all.emplace_back(n, type, true, noise(1));
    kernels::decode_blocks(blocks.view(0, n), all.back().view(0, n), stream);
  }
  kernels::encode_blocks(values.view(0, n), blocks.view(0, n), stream);
  all.push_back(blocks);
  return all;
}

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
  const std::vector<Cells> best_blocks = run_blocks();
  for (const std::int64_t target : {HWY_SCALAR, HWY_AVX2, HWY_AVX3}) {
    if ((hwy::SupportedTargets() & target) == 0) continue;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    const std::vector<UpdateState> got = run_everything();
    CHECK_MESSAGE(run_blocks() == best_blocks, hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    for (std::size_t i = 0; i < best.size(); ++i) {
      CHECK_MESSAGE(got[i] == best[i], hwy::TargetName(target) << " combination " << i);
    }
  }
}
