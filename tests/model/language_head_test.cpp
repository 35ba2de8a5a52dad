#include "sherd/model/language_head.hpp"

#include <doctest/doctest.h>

#include "sherd/kernels/cross_entropy.hpp"
#include "sherd/model/gpt2.hpp"
#include "sherd/model/llama.hpp"
#include "support/block_check.hpp"
#include "support/gpt2_reference.hpp"
#include "support/llama_reference.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr std::size_t head = 3;

Model tiny(std::int64_t context = 7) { return model::gpt2({1, 3, 12, 20, 37, context}); }

Model llama(bool tied) {
  return model::llama({.layers = 1,
                       .heads = 3,
                       .kv_heads = 3,
                       .head_dim = 4,
                       .width = 12,
                       .ffn_width = 20,
                       .vocab_size = 37,
                       .context = 7,
                       .eps = 1e-5f,
                       .tied = tied});
}

Gpt2Shape shape_of(Shape rows) {
  return {static_cast<std::size_t>(rows.rows), static_cast<std::size_t>(rows.cols), 3, 12, 20, 37};
}

Scalar objective(const Rig& rig, Shape rows, double factor) {
  return [&rig, rows, factor](const Tensors& t) {
    return factor * token_losses(head_logits(t, shape_of(rows)), rig.labels.values());
  };
}

Tensors tensors(const Rig& rig) {
  Tensors t{rig.in.values()};
  for (const Buffer& param : rig.params) t.push_back(param.values());
  return t;
}

void mask_every_third(Rig& rig) {
  Vector labels = rig.labels.values();
  for (std::size_t i = 0; i < labels.size(); i += 3) labels[i] = kernels::ignored_label;
  rig.labels.set(labels);
}

}  // namespace

TEST_CASE("the head's loss, count and gradients are those of the fp64 reference") {
  const Shape rows{2, 5};
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    CAPTURE(name_of(compute));
    const double tolerance = compute == DType::f32 ? 2e-5 : compute == DType::bf16 ? 3e-2 : 5e-3;
    Model model = tiny();
    Rig rig(model, head, {.compute = compute});
    mask_every_third(rig);
    const kernels::LossSum sums = rig.loss(true, 8, 10);
    const double want = objective(rig, rows, 1)(tensors(rig));
    CHECK(std::abs(sums.loss.value() - want) < tolerance * want);
    CHECK(sums.tokens == 6);
    CHECK(sums.nonfinite == 0);
    const Worst worst = check_gradients(rig, objective(rig, rows, 0.8));
    CAPTURE(worst.tensor);
    CHECK(worst.error < tolerance);
  }
}

TEST_CASE("a head with an RMS norm has the reference's loss and gradients, tied or not") {
  for (const bool tied : {false, true}) {
    for (const DType compute : {DType::f32, DType::bf16}) {
      Model model = llama(tied);
      Rig rig(model, head, {.compute = compute});
      mask_every_third(rig);
      const auto want = [&](double factor) {
        return [&rig, factor](const Tensors& t) {
          return factor * token_losses(rms_head_logits(t, 1e-5), rig.labels.values());
        };
      };
      const double loss = want(1)(tensors(rig));
      CHECK(std::abs(rig.loss(true, 8, 10).loss.value() - loss) <
            (compute == DType::f32 ? 2e-5 : 3e-2) * loss);
      const Worst worst = check_gradients(rig, want(0.8));
      CAPTURE(worst.tensor);
      CHECK(worst.error < (compute == DType::f32 ? 2e-5 : 3e-2));
      rig.out = Buffer({3, 37}, DType::f32);
      rig.logits();
      Tensors t = tensors(rig);
      t[0].resize(3 * 12);
      CHECK(error(rig.out.values(), rms_head_logits(t, 1e-5)) < 2e-2);
    }
  }
}

TEST_CASE("a table of the head's own is a parameter of the head") {
  const model::ModelSpec tied = model::declare(llama(true), {}, {2, 5});
  const model::ModelSpec own = model::declare(llama(false), {}, {2, 5});
  CHECK(own.params.size() == tied.params.size() + 1);
  CHECK(own.params.back().name == "head.lm_head");
  CHECK(own.params.back().shape == Shape{37, 12});
}

TEST_CASE("evaluation gives the same loss and needs no gradient") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    Model model = tiny();
    Rig rig(model, head, {.compute = compute});
    const kernels::LossSum training = rig.loss(true), evaluation = rig.loss(false);
    CHECK(training.loss.limb == evaluation.loss.limb);
    CHECK(training.tokens == evaluation.tokens);
  }
}

TEST_CASE("a batch whose labels are all ignored has no loss and zero gradients") {
  Model model = tiny();
  Rig rig(model, head, {});
  rig.labels.set(Vector(10, kernels::ignored_label));
  const kernels::LossSum sums = rig.loss();
  CHECK(sums.loss.value() == 0);
  CHECK(sums.tokens == 0);
  for (const Buffer& grad : rig.grads)
    for (const double x : grad.values()) CHECK(x == 0);
  for (const double x : rig.d_in.values()) CHECK(x == 0);
}

TEST_CASE("gradients over several chunks of rows are those of the whole batch") {
  const Shape rows{13, 100};
  REQUIRE(model::head_chunk_rows(37) == 1024);
  for (const DType grad : {DType::f32, DType::bf16}) {
    for (const DType compute : {DType::f32, DType::bf16}) {
      const bool exact = grad == DType::f32 && compute == DType::f32;
      Model model = tiny(100);
      Rig rig(model, head, {.compute = compute, .grad = grad, .rows = rows});
      const double want = objective(rig, rows, 1)(tensors(rig));
      CHECK(std::abs(rig.loss().loss.value() - want) < (exact ? 1e-6 : 1e-2) * want);
      const Worst worst = check_directions(rig, objective(rig, rows, 1));
      CAPTURE(worst.tensor);
      CHECK(worst.error < (exact ? 1e-5 : 2e-2));
    }
  }
}

TEST_CASE("logits of any number of rows are those of the fp64 reference") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    Model model = tiny();
    Rig rig(model, head, {.compute = compute});
    rig.out = Buffer({3, 37}, DType::f32);
    rig.logits();
    Tensors t = tensors(rig);
    t[0].resize(3 * 12);
    CHECK(error(rig.out.values(), head_logits(t, shape_of({1, 3}))) <
          (compute == DType::f32 ? 1e-5 : 2e-2));
  }
}

TEST_CASE("the rows of a chunk are a function of the vocabulary") {
  CHECK(model::head_chunk_rows(256) == 1024);
  CHECK(model::head_chunk_rows(50257) == 320);
  CHECK(model::head_chunk_rows(1 << 24) == 64);
}
