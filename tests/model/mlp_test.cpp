#include "sherd/model/mlp.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "sherd/base/errors.hpp"
#include "support/block_check.hpp"
#include "support/gpt2_reference.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr Shape rows{6, 1};
constexpr std::size_t features = 0, hidden = 1, last = 2, head = 3;

Model network(model::Task task) { return model::mlp({5, 7, 1, 3, task}); }

Rig rig_of(Model& model, std::size_t index, DType compute) {
  Rig rig(model, index, {.compute = compute, .rows = rows, .vocabulary = 3});
  rig.inputs = Buffer({6, 5}, DType::f32);
  rig.inputs.normal(5, 0, 1);
  return rig;
}

Tensors tensors(const Rig& rig) {
  Tensors t{rig.in.values()};
  for (const Buffer& param : rig.params) t.push_back(param.values());
  return t;
}

Vector layer(const Tensors& t, bool gelu) {
  const Vector sum = product(t[0], t[1], t[2], 6);
  return gelu ? gelu_of(sum) : sum;
}

double tolerance(DType compute) {
  return compute == DType::f32 ? 1e-5 : compute == DType::bf16 ? 3e-2 : 5e-3;
}

}  // namespace

TEST_CASE("features are the batch's inputs in the compute type") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    Model model = network(model::Task::regression);
    Rig rig = rig_of(model, features, compute);
    rig.forward();
    rig.backward();
    CHECK(error(rig.out.values(), rig.inputs.values()) < (compute == DType::f32 ? 1e-30 : 0x1p-8));
  }
}

TEST_CASE("a linear layer and its gradients are those of the fp64 reference") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    for (const std::size_t index : {hidden, last}) {
      Model model = network(model::Task::regression);
      Rig rig = rig_of(model, index, compute);
      rig.forward();
      CHECK(error(rig.out.values(), layer(tensors(rig), index == hidden)) < tolerance(compute));
      rig.backward();
      const Worst worst = check_gradients(rig, [&](const Tensors& t) {
        return dot(layer(t, index == hidden), rig.d_out.values());
      });
      CAPTURE(worst.tensor);
      CHECK(worst.error < tolerance(compute));
    }
  }
}

TEST_CASE("the squared error and its gradient are those of the fp64 reference") {
  for (const DType compute : {DType::f32, DType::bf16}) {
    Model model = network(model::Task::regression);
    Rig rig = rig_of(model, head, compute);
    rig.labels = Buffer({6, 3}, DType::f32);
    rig.labels.normal(6, 0, 1);
    rig.labels.view().as<float>()[3] = std::numeric_limits<float>::quiet_NaN();  // row 1
    const Vector target = rig.labels.values();
    const Scalar half_square = [&](const Tensors& t) {
      double sum = 0;
      for (std::size_t i = 0; i < target.size(); ++i)
        if (i / 3 != 1) sum += 0.5 * std::pow(t[0][i] - target[i], 2);
      return sum;
    };
    const double want = half_square(tensors(rig));
    const kernels::LossSum sums = rig.loss(true, 4, 2);
    CHECK(std::abs(sums.loss.value() - want) < 1e-5 * want);
    CHECK(sums.tokens == 5);
    CHECK(rig.loss(false).loss.limb == sums.loss.limb);
    const Worst worst = check_gradients(rig, [&](const Tensors& t) { return 2 * half_square(t); });
    CHECK(worst.error < tolerance(compute));
  }
}

TEST_CASE("the classifier's loss and gradient are those of the fp64 reference") {
  for (const DType compute : {DType::f32, DType::bf16}) {
    Model model = network(model::Task::classification);
    Rig rig = rig_of(model, head, compute);
    const Scalar f = [&](const Tensors& t) { return token_losses(t[0], rig.labels.values()); };
    const double want = f(tensors(rig));
    CHECK(std::abs(rig.loss().loss.value() - want) < 1e-5 * want);
    CHECK(check_gradients(rig, f).error < tolerance(compute));
    CHECK(std::abs(rig.loss(false).loss.value() - want) < 1e-5 * want);
    rig.out = Buffer({2, 3}, DType::f32);
    rig.logits();
    const Vector in = rig.in.values();
    CHECK(rig.out.values() == Vector(in.begin(), in.begin() + 6));
  }
}

TEST_CASE("a perceptron refuses numbers that are no network") {
  CHECK_THROWS_AS((void)model::mlp({0, 7, 1, 3}), UsageError);
  CHECK_THROWS_AS((void)model::mlp({5, 7, -1, 3}), UsageError);
}
