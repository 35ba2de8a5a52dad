#include "sherd/model/llama.hpp"

#include <doctest/doctest.h>

#include "sherd/base/errors.hpp"
#include "support/block_check.hpp"
#include "support/llama_reference.hpp"

using namespace sherd;
using namespace sherd::test;
using model::LlamaKind;

namespace {

constexpr std::size_t embed = 0, attention = 1, mlp = 2;

/// Heads that are the width, narrower and wider than it; with and without groups.
struct Member {
  LlamaKind kind;
  std::size_t heads, kv_heads, head_dim;
};
const Member members[] = {{LlamaKind::llama, 4, 2, 4},
                          {LlamaKind::llama, 2, 2, 6},
                          {LlamaKind::qwen2, 3, 1, 4},
                          {LlamaKind::qwen3, 4, 2, 6}};

LlamaShape shape_of(const Member& m, Shape rows = {2, 5}) {
  return {static_cast<std::size_t>(rows.rows),
          static_cast<std::size_t>(rows.cols),
          m.heads,
          m.kv_heads,
          m.head_dim,
          16,
          20,
          37};
}

Model tiny(const Member& m) {
  const auto size = [](std::size_t x) { return static_cast<std::int64_t>(x); };
  return model::llama({.kind = m.kind,
                       .layers = 1,
                       .heads = size(m.heads),
                       .kv_heads = size(m.kv_heads),
                       .head_dim = size(m.head_dim),
                       .width = 16,
                       .ffn_width = 20,
                       .vocab_size = 37,
                       .context = 7,
                       .eps = 1e-5f});
}

Vector reference(std::size_t index, const Tensors& t, const Rig& rig, const Member& m) {
  const LlamaShape s = shape_of(m);
  if (index == attention) return llama_attention_block(t, s);
  if (index == mlp) return llama_mlp_block(t, s);
  Vector out;
  for (const double token : rig.inputs.values()) {
    const auto row = t[1].begin() + static_cast<std::ptrdiff_t>(token) * 16;
    out.insert(out.end(), row, row + 16);
  }
  return out;
}

Scalar objective(std::size_t index, const Rig& rig, const Member& m) {
  return [&rig, index, m](const Tensors& t) {
    return dot(reference(index, t, rig, m), rig.d_out.values());
  };
}

Tensors tensors(const Rig& rig) {
  Tensors t{rig.in.values()};
  for (const Buffer& param : rig.params) t.push_back(param.values());
  return t;
}

double tolerance(DType compute) {
  return compute == DType::f32 ? 2e-5 : compute == DType::bf16 ? 5e-2 : 8e-3;
}

void check_equal(const std::vector<Buffer>& a, const std::vector<Buffer>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i].bytes() == b[i].bytes());
}

}  // namespace

TEST_CASE("every block of the llama family computes what the fp64 reference computes") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    for (const Member& member : members) {
      for (const std::size_t index : {embed, attention, mlp}) {
        CAPTURE(name_of(compute));
        CAPTURE(static_cast<int>(member.kind));
        CAPTURE(index);
        Model model = tiny(member);
        Rig rig(model, index, {.compute = compute});
        rig.forward();
        CHECK(error(rig.out.values(), reference(index, tensors(rig), rig, member)) <
              tolerance(compute));
      }
    }
  }
}

TEST_CASE("every gradient of a llama block is the finite difference of the fp64 reference") {
  for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
    for (const Member& member : members) {
      for (const std::size_t index : {embed, attention, mlp}) {
        Model model = tiny(member);
        Rig rig(model, index, {.compute = compute});
        rig.forward();
        rig.backward();
        const Worst worst = check_gradients(rig, objective(index, rig, member));
        CAPTURE(name_of(compute));
        CAPTURE(static_cast<int>(member.kind));
        CAPTURE(worst.tensor);
        CHECK(worst.error < tolerance(compute));
      }
    }
  }
}

TEST_CASE("lost saves of a llama block are rebuilt to the same bits") {
  for (const DType compute : {DType::f32, DType::bf16}) {
    for (const Member& member : members) {
      for (const std::size_t index : {attention, mlp}) {
        Model model = tiny(member);
        Rig kept(model, index, {.compute = compute}), dropped(model, index, {.compute = compute});
        kept.forward();
        kept.backward();
        dropped.forward();
        dropped.backward(Write::set, true);
        CHECK(kept.d_in.bytes() == dropped.d_in.bytes());
        check_equal(kept.grads, dropped.grads);
        check_equal(kept.saves, dropped.saves);
      }
    }
  }
}

TEST_CASE("a recomputed llama block and another number of threads give the same bits") {
  for (const Member& member : members) {
    for (const std::size_t index : {embed, attention, mlp}) {
      Model model = tiny(member);
      Rig once(model, index, {}), again(model, index, {.threads = 3});
      once.forward();
      again.forward();
      for (Buffer& save : again.saves) save.spoil();
      again.forward();
      CHECK(once.out.bytes() == again.out.bytes());
      check_equal(once.saves, again.saves);
      once.backward();
      again.backward();
      check_equal(once.grads, again.grads);
    }
  }
}

TEST_CASE("gradients of a llama block add up, and 16-bit ones are within their rounding") {
  for (const Member& member : members) {
    for (const std::size_t index : {embed, attention, mlp}) {
      Model model = tiny(member);
      Rig set(model, index, {}), added(model, index, {});
      Rig rounded(model, index, {.grad = DType::bf16});
      for (Rig* rig : {&set, &added, &rounded}) {
        rig->forward();
        rig->backward();
      }
      added.backward(Write::add);
      for (std::size_t i = 0; i < set.grads.size(); ++i) {
        Vector twice = set.grads[i].values();
        CHECK(error(rounded.grads[i].values(), twice) < 0x1p-7);
        for (double& x : twice) x *= 2;
        CHECK(error(added.grads[i].values(), twice) < 1e-6);
      }
    }
  }
}

TEST_CASE("the llama family refuses numbers that are no network") {
  const auto refuses = [](auto change) {
    model::LlamaConfig c{.layers = 1,
                         .heads = 4,
                         .kv_heads = 2,
                         .head_dim = 4,
                         .width = 16,
                         .ffn_width = 20,
                         .vocab_size = 37,
                         .context = 7};
    change(c);
    CHECK_THROWS_AS((void)model::llama(c), UsageError);
  };
  refuses([](model::LlamaConfig& c) { c.layers = 0; });
  refuses([](model::LlamaConfig& c) { c.kv_heads = 3; });
  refuses([](model::LlamaConfig& c) { c.head_dim = 5; });
  refuses([](model::LlamaConfig& c) { c.head_dim = 258; });
  const Model model = tiny(members[0]);
  CHECK_THROWS_WITH_AS((void)model::declare(model, {}, {2, 8}),
                       "llama: got sequences of 8 tokens, need at most the context of 7",
                       UsageError);
}
