// Kernels whose arithmetic is per element: the device gives the CPU's bits.
#include <doctest/doctest.h>

#include "kernels/twin.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/embedding.hpp"

using namespace sherd;
using test::awkward;
using test::Both;
using test::float_types;
using test::noise;
using test::Twin;

namespace {

constexpr std::int64_t lengths[] = {1, 255, 257, 4099};
constexpr DType grad_types[] = {DType::f32, DType::bf16};
const Philox bits{11, 22};

}  // namespace

TEST_CASE("gelu and its gradient on the device give the CPU's bits") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType in : float_types) {
    for (const DType out : float_types) {
      for (const std::int64_t n : lengths) {
        Both &x = twin.make({1, n}, in, awkward(1)), &y = twin.make({1, n}, out, noise(2)),
             &dy = twin.make({1, n}, out, awkward(3)), &dx = twin.make({1, n}, in, noise(4)),
             &self = twin.make({1, n}, out, noise(5));
        twin.run([&](StreamRef s) {
          kernels::gelu(x.at(s), y.at(s), s);
          kernels::gelu_backward(x.at(s), dy.at(s), dx.at(s), s);
          kernels::gelu_backward(x.at(s), self.at(s), self.at(s), s);
        });
        CHECK(twin.same(y));
        CHECK(twin.same(dx));
        CHECK(twin.same(self));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

TEST_CASE("sums of views of any types on the device give the CPU's bits") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType a : float_types) {
    for (const DType b : float_types) {
      for (const DType out : float_types) {
        Both &x = twin.make({1, 257}, a, awkward(1)), &y = twin.make({1, 257}, b, noise(2)),
             &z = twin.make({1, 257}, out, noise(3)), &self = twin.make({1, 257}, a, noise(5));
        twin.run([&](StreamRef s) {
          kernels::add(x.at(s), y.at(s), z.at(s), s);
          kernels::add(self.at(s), y.at(s), self.at(s), s);
          kernels::scale(z.at(s), 0.3f, s);
        });
        CHECK(twin.same(z));
        CHECK(twin.same(self));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

TEST_CASE("elements that start at odd addresses come out the same") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType type : float_types) {
    for (const std::int64_t offset : {1, 3, 7}) {
      Both &x = twin.make({1, 1027}, type, noise(1), {.offset = offset}),
           &y = twin.make({1, 1027}, type, noise(2)),
           &z = twin.make({1, 1027}, DType::f32, noise(3), {.offset = 1});
      twin.run([&](StreamRef s) {
        kernels::add(x.at(s), y.at(s), z.at(s), s);
        kernels::gelu(x.at(s), y.at(s), s);
        kernels::cast(z.at(s), x.at(s), s);
        kernels::zero(z.at(s).raw().subspan(5, 1001), s);
      });
      for (Both* each : {&x, &y, &z}) CHECK(twin.same(*each));
      CHECK(twin.is_sound());
      twin.clear();
    }
  }
}

TEST_CASE("dropout on the device keeps the elements that the CPU keeps") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType type : float_types) {
    for (const float p : {0.0f, 0.1f, 0.9f}) {
      for (const std::int64_t n : lengths) {
        Both &branch = twin.make({1, n}, type, noise(1)), &res = twin.make({1, n}, type, noise(2)),
             &out = twin.make({1, n}, DType::f32, noise(3)),
             &alone = twin.make({1, n}, type, noise(4));
        twin.run([&](StreamRef s) {
          kernels::dropout({branch.at(s), res.at(s), out.at(s), p, bits}, s);
          kernels::dropout({branch.at(s), {}, alone.at(s), p, bits}, s);
          kernels::dropout({branch.at(s), res.at(s), res.at(s), p, bits}, s);
        });
        for (Both* each : {&out, &alone, &res}) CHECK(twin.same(*each));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

TEST_CASE("casts on the device round as the CPU does, to nearest and at random") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType in : float_types) {
    for (const std::int64_t n : lengths) {
      Both& x = twin.make({1, n}, in, awkward(6));
      std::vector<Both*> outs;
      for (const DType out : float_types) outs.push_back(&twin.make({1, n}, out, noise(1)));
      Both& random = twin.make({1, n}, DType::bf16, noise(2));
      outs.push_back(&random);
      twin.run([&](StreamRef s) {
        for (Both* out : outs) kernels::cast(x.at(s), out->at(s), s);
        const Philox own = bits;
        kernels::cast(x.at(s), random.at(s), s, &own);
      });
      for (Both* each : outs) CHECK(twin.same(*each));
      CHECK(twin.is_sound());
      twin.clear();
    }
  }
}

TEST_CASE("gradients that start or accumulate on the device give the CPU's bits in fp32 and bf16") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType type : float_types) {
    for (const DType grad : grad_types) {
      for (const Write mode : {Write::set, Write::add}) {
        for (const std::int64_t n : lengths) {
          Both &x = twin.make({1, n}, type, noise(1)), &to = twin.make({1, n}, grad, noise(2));
          twin.run([&](StreamRef s) { kernels::accumulate(x.at(s), {to.at(s), mode, bits}, s); });
          CHECK(twin.same(to));
          CHECK(twin.is_sound());
          twin.clear();
        }
      }
    }
  }
}

TEST_CASE("normal numbers of the device are the CPU's from any first element") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType type : float_types) {
    for (const std::uint64_t first : {0u, 1u, 1023u}) {
      for (const std::int64_t n : lengths) {
        Both& x = twin.make({1, n}, type, noise(1));
        twin.run([&](StreamRef s) { kernels::fill_normal(x.at(s), first, 0.5f, 0.02f, bits, s); });
        CHECK(twin.same(x));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

TEST_CASE("zero clears exactly the bytes it is given") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const std::size_t first : {0u, 1u, 13u}) {
    for (const std::size_t size : {0u, 1u, 255u, 1000u}) {
      Both& x = twin.make({1, 257}, DType::f32, noise(1));
      twin.run([&](StreamRef s) { kernels::zero(x.at(s).raw().subspan(first, size), s); });
      CHECK(twin.same(x));
      CHECK(twin.is_sound());
      twin.clear();
    }
  }
}

TEST_CASE("embedding on the device gives the CPU's bits") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType type : float_types) {
    for (const std::int64_t width : {1, 24, 257}) {
      Both &tokens =
               twin.make({3, 17}, DType::i32, [](std::int64_t i) { return double(i * 37 % 101); }),
           &table = twin.make({101, width}, type, noise(1)),
           &positions = twin.make({20, width}, type, noise(2)),
           &out = twin.make({51, width}, type, noise(3)),
           &bare = twin.make({51, width}, DType::f32, noise(4));
      twin.run([&](StreamRef s) {
        kernels::embedding({tokens.at(s), table.at(s), positions.at(s), out.at(s)}, s);
        kernels::embedding({tokens.at(s), table.at(s), {}, bare.at(s)}, s);
      });
      CHECK(twin.same(out));
      CHECK(twin.same(bare));
      CHECK(twin.is_sound());
      twin.clear();
    }
  }
}

TEST_CASE("the gradient of an embedding on the device gives the CPU's bits") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  struct Size {
    Shape tokens;
    std::int64_t vocabulary, width;
  };
  const Size sizes[] = {
      {{1, 1}, 1, 1}, {{3, 17}, 101, 24}, {{2, 500}, 7, 257}, {{1, 300}, 50257, 3}};
  for (const Size& size : sizes) {
    for (const DType grad : grad_types) {
      for (const Write mode : {Write::set, Write::add}) {
        const std::int64_t count = size.tokens.numel(), words = size.vocabulary;
        Both &tokens = twin.make(size.tokens, DType::i32,
                                 [=](std::int64_t i) { return double(i * i * 31 % words); }),
             &d_out = twin.make({count, size.width}, grad, noise(1)),
             &d_table = twin.make({words, size.width}, grad, noise(2)),
             &d_places = twin.make({size.tokens.cols + 2, size.width}, grad, noise(3));
        const auto need = [&](StreamRef s) {
          return kernels::embedding_backward_scratch(size.tokens, words, size.width,
                                                     {.kind = s.kind()});
        };
        twin.run([&](StreamRef s) {
          kernels::embedding_backward({tokens.at(s),
                                       d_out.at(s),
                                       {d_table.at(s), mode, bits},
                                       {d_places.at(s), mode, {33, 44}},
                                       twin.scratch(s, need(s))},
                                      s);
        });
        CHECK(twin.same(d_table));
        CHECK(twin.same(d_places));
        twin.clear();
      }
    }
  }
}
