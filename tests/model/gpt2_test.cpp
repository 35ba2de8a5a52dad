#include "sherd/model/gpt2.hpp"

#include <doctest/doctest.h>

#include "sherd/base/errors.hpp"
#include "support/block_check.hpp"
#include "support/gpt2_reference.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr std::size_t embed = 0, attention = 1, mlp = 2, head = 3;
const Gpt2Shape reference_shape{2, 5, 3, 12, 20, 37};

Model tiny(float dropout = 0, std::int64_t vocabulary = 37) {
  return model::gpt2({1, 3, 12, 20, vocabulary, 7, dropout});
}

/// Forward of block `index` in fp64.
Vector reference(std::size_t index, const Tensors& t, const Rig& rig, const Vector& keep = {}) {
  if (index == attention) return attention_block(t, reference_shape, keep);
  if (index == mlp) return mlp_block(t, reference_shape, keep);
  Vector out = embed_block(t, rig.inputs.values(), reference_shape);
  for (std::size_t i = 0; i < keep.size(); ++i) out[i] *= keep[i];
  return out;
}

Scalar objective(std::size_t index, const Rig& rig, const Vector& keep = {}) {
  return [&rig, index, keep](const Tensors& t) {
    return dot(reference(index, t, rig, keep), rig.d_out.values());
  };
}

Tensors tensors(const Rig& rig) {
  Tensors t{rig.in.values()};
  for (const Buffer& param : rig.params) t.push_back(param.values());
  return t;
}

double tolerance(DType compute) {
  return compute == DType::f32 ? 2e-5 : compute == DType::bf16 ? 5e-2 : 6e-3;
}

/// Multiplies one result by 1.01: what the harness must notice.
class Planted final : public Block {
 public:
  Planted(std::unique_ptr<Block> inner, std::size_t which)
      : inner_(std::move(inner)), which_(which) {}
  void declare(Declare& d) const override { inner_->declare(d); }
  void forward(const Forward& f) override { inner_->forward(f); }
  void backward(const Backward& b) override {
    inner_->backward(b);
    const View wrong = which_ == 0 ? b.d_in : b.grads[which_ - 1].to;
    for (float& x : wrong.span<float>()) x *= 1.01f;
  }

 private:
  std::unique_ptr<Block> inner_;
  std::size_t which_;
};

}  // namespace

TEST_CASE("every GPT-2 block computes what the fp64 reference computes") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    for (const std::size_t index : {embed, attention, mlp}) {
      CAPTURE(name_of(compute));
      CAPTURE(index);
      Model model = tiny();
      Rig rig(model, index, {.compute = compute});
      rig.forward();
      CHECK(error(rig.out.values(), reference(index, tensors(rig), rig)) < tolerance(compute));
    }
  }
}

TEST_CASE("every gradient of a GPT-2 block is the finite difference of the fp64 reference") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    for (const std::size_t index : {embed, attention, mlp}) {
      Model model = tiny();
      Rig rig(model, index, {.compute = compute});
      rig.forward();
      rig.backward();
      const Worst worst = check_gradients(rig, objective(index, rig));
      CAPTURE(name_of(compute));
      CAPTURE(worst.tensor);
      CHECK(worst.error < tolerance(compute));
    }
  }
}

TEST_CASE("the check notices one per cent on any single gradient") {
  for (const std::size_t index : {attention, mlp}) {
    for (std::size_t which = 0; which <= 6; ++which) {
      Model model = tiny();
      auto& block = model.blocks[index].block;
      block = std::make_unique<Planted>(std::move(block), which);
      Rig rig(model, index, {});
      rig.forward();
      rig.backward();
      CAPTURE(which);
      CHECK(check_gradients(rig, objective(index, rig)).error > 5e-3);
    }
  }
}

TEST_CASE("lost saves are rebuilt to the same bits") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    for (const std::size_t index : {attention, mlp}) {
      Model model = tiny(0.1f);
      Rig kept(model, index, {.compute = compute}), dropped(model, index, {.compute = compute});
      kept.forward();
      kept.backward();
      dropped.forward();
      dropped.backward(Write::set, true);
      CHECK(kept.d_in.bytes() == dropped.d_in.bytes());
      for (std::size_t i = 0; i < kept.grads.size(); ++i)
        CHECK(kept.grads[i].bytes() == dropped.grads[i].bytes());
      for (std::size_t i = 0; i < kept.saves.size(); ++i)
        CHECK(kept.saves[i].bytes() == dropped.saves[i].bytes());
    }
  }
}

TEST_CASE("a recomputed forward and another number of threads give the same bits") {
  for (const std::size_t index : {embed, attention, mlp}) {
    Model model = tiny(0.3f);
    Rig once(model, index, {}), again(model, index, {.threads = 3});
    once.forward();
    again.forward();
    for (Buffer& save : again.saves) save.spoil();
    again.forward();
    CHECK(once.out.bytes() == again.out.bytes());
    for (std::size_t i = 0; i < once.saves.size(); ++i)
      CHECK(once.saves[i].bytes() == again.saves[i].bytes());
    once.backward();
    again.backward();
    for (std::size_t i = 0; i < once.grads.size(); ++i)
      CHECK(once.grads[i].bytes() == again.grads[i].bytes());
  }
}

TEST_CASE("dropout keeps elements scaled up and its gradient uses the same mask") {
  for (const std::size_t index : {embed, attention, mlp}) {
    CAPTURE(index);
    Model plain_model = tiny(), model = tiny(0.5f);
    Rig plain(plain_model, index, {}), rig(model, index, {});
    plain.forward();
    rig.forward();
    const Vector in = rig.in.values(), with = rig.out.values(), without = plain.out.values();
    Vector keep(with.size());
    std::size_t kept = 0;
    for (std::size_t i = 0; i < keep.size(); ++i) {
      const double residual = in.empty() ? 0 : in[i];
      keep[i] = std::abs((with[i] - residual) / (without[i] - residual)) > 1 ? 2 : 0;
      kept += keep[i] > 0;
    }
    CHECK(kept > keep.size() / 4);
    CHECK(kept < keep.size() * 3 / 4);
    CHECK(error(with, reference(index, tensors(rig), rig, keep)) < 2e-5);
    rig.backward();
    const Worst worst = check_gradients(rig, objective(index, rig, keep));
    CAPTURE(worst.tensor);
    CHECK(worst.error < 2e-5);
    rig.rng.stream += 1;
    rig.forward();
    CHECK(rig.out.values() != with);
  }
}

TEST_CASE("evaluation drops nothing") {
  for (const std::size_t index : {embed, attention, mlp}) {
    Model plain_model = tiny(), model = tiny(0.5f);
    Rig plain(plain_model, index, {}), rig(model, index, {});
    plain.forward();
    rig.forward(false);
    CHECK(plain.out.bytes() == rig.out.bytes());
  }
}

TEST_CASE("adding a gradient gives twice the one that was set") {
  for (const std::size_t index : {embed, attention, mlp}) {
    Model model = tiny();
    Rig set(model, index, {}), added(model, index, {});
    for (Rig* rig : {&set, &added}) {
      rig->forward();
      rig->backward();
    }
    added.backward(Write::add);
    for (std::size_t i = 0; i < set.grads.size(); ++i) {
      Vector twice = set.grads[i].values();
      for (double& x : twice) x *= 2;
      CHECK(error(added.grads[i].values(), twice) < 1e-6);
    }
  }
}

TEST_CASE("bf16 gradients are within their rounding of the fp32 ones") {
  for (const DType compute : {DType::f32, DType::bf16}) {
    for (const std::size_t index : {embed, attention, mlp}) {
      Model model = tiny(0.1f);
      Rig exact(model, index, {.compute = compute});
      Rig rounded(model, index, {.compute = compute, .grad = DType::bf16});
      for (Rig* rig : {&exact, &rounded}) {
        rig->forward();
        rig->backward();
      }
      for (std::size_t i = 0; i < exact.grads.size(); ++i)
        CHECK(error(rounded.grads[i].values(), exact.grads[i].values()) < 0x1p-7);
    }
  }
}

TEST_CASE("GPT-2 refuses numbers that are no network") {
  CHECK_THROWS_AS((void)model::gpt2({1, 5, 12, 20, 37, 7}), UsageError);
  CHECK_THROWS_AS((void)model::gpt2({0, 3, 12, 20, 37, 7}), UsageError);
  CHECK_THROWS_AS((void)model::gpt2({1, 3, 12, 20, 37, 7, 1.0f}), UsageError);
  const Model model = tiny();
  CHECK_THROWS_WITH_AS((void)model::declare(model, {}, {2, 8}),
                       "gpt2: got sequences of 8 tokens, need at most the context of 7",
                       UsageError);
}
