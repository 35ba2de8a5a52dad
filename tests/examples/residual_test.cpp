// The example's own block, checked as any block should be.
#define main own_model_main
#include "own_model.cpp"
#undef main

#include <doctest/doctest.h>

#include "support/block_check.hpp"
#include "support/gpt2_reference.hpp"

using namespace sherd::test;

namespace {

// out = in + gelu(in)·weight + bias, in fp64.
Vector residual(const Tensors& t, std::size_t count) {
  Vector out = product(gelu_of(t[0]), t[1], t[2], count);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += t[0][i];
  return out;
}

}  // namespace

TEST_CASE("the example's block and its gradients are those of the fp64 reference") {
  for (const DType compute : {DType::f32, DType::bf16}) {
    const double tolerance = compute == DType::f32 ? 1e-5 : 3e-2;
    Model model;
    model.add<model::Features>("features", width).add<Residual>("first");
    model.end<model::SquaredErrorHead>(width);
    Rig rig(model, 1, {.compute = compute, .rows = {3, 1}});
    const auto f = [&](const Tensors& t) { return residual(t, 3); };
    rig.forward();
    CHECK(error(rig.out.values(),
                f({rig.in.values(), rig.params[0].values(), rig.params[1].values()})) < tolerance);
    rig.backward();
    const Worst worst =
        check_gradients(rig, [&](const Tensors& t) { return dot(f(t), rig.d_out.values()); });
    CAPTURE(worst.tensor);
    CHECK(worst.error < tolerance);
  }
}
