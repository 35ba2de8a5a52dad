// The mapping of row-major products to the library's column-major ones, against the definition.
#include "kernels/matmul_layout.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include "kernels/workspace.hpp"

namespace sherd::cuda {
namespace {

/// A row-major matrix of small integers; what is between its rows must never be read.
struct Matrix {
  Matrix(Shape shape, std::int64_t extra, float first)
      : values(static_cast<std::size_t>(shape.rows * (shape.cols + extra)), 1e6f) {
    view = {reinterpret_cast<std::byte*>(values.data()), shape, DType::f32,
            extra > 0 ? shape.cols + extra : 0};
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      at(i / shape.cols, i % shape.cols) = first + static_cast<float>(i * 7 % 11);
    }
  }
  float& at(std::int64_t row, std::int64_t col) {
    return values[static_cast<std::size_t>(row * view.row_pitch() + col)];
  }
  std::vector<float> values;
  View view;
};

float element(const View& data, const StoredMatrix& stored, std::int64_t row, std::int64_t col) {
  if (stored.transpose == Transpose::yes) std::swap(row, col);
  REQUIRE(row < stored.rows);
  REQUIRE(col < stored.cols);
  REQUIRE(stored.leading >= stored.rows);
  return data.as<const float>()[col * stored.leading + row];
}

// What a column-major library computes of the descriptors alone; it gets args.b as its a.
void column_major_gemm(const ColumnProduct& p, const View& a, const View& b, const View& d) {
  for (std::int64_t row = 0; row < p.m; ++row) {
    for (std::int64_t col = 0; col < p.n; ++col) {
      float sum = 0;
      for (std::int64_t k = 0; k < p.k; ++k) {
        sum += element(a, p.a, row, k) * element(b, p.b, k, col);
      }
      REQUIRE(row < p.d.rows);
      REQUIRE(col < p.d.cols);
      d.as<float>()[col * p.d.leading + row] = sum;
    }
  }
}

Shape stored_shape(std::int64_t rows, std::int64_t cols, Transpose transpose) {
  return transpose == Transpose::yes ? Shape{cols, rows} : Shape{rows, cols};
}

struct Product {
  Product(Transpose ta, Transpose tb, std::int64_t extra)
      : a(stored_shape(m, k, ta), extra, 1),
        b(stored_shape(k, n, tb), 2 * extra, -3),
        out({m, n}, 3 * extra, 0) {
    args = {.a = a.view, .b = b.view, .transpose_a = ta, .transpose_b = tb, .out = out.view};
  }
  float expected(std::int64_t row, std::int64_t col) {
    float sum = 0;
    for (std::int64_t i = 0; i < k; ++i) {
      const float x = args.transpose_a == Transpose::yes ? a.at(i, row) : a.at(row, i);
      const float y = args.transpose_b == Transpose::yes ? b.at(col, i) : b.at(i, col);
      sum += x * y;
    }
    return sum;
  }
  static constexpr std::int64_t m = 5, n = 7, k = 3;
  Matrix a, b, out;
  MatmulArgs args;
};

template <class Check>
void for_every_layout(Check check) {
  for (const Transpose ta : {Transpose::no, Transpose::yes}) {
    for (const Transpose tb : {Transpose::no, Transpose::yes}) {
      for (const std::int64_t extra : {0, 1, 4}) {
        CAPTURE(static_cast<int>(ta));
        CAPTURE(static_cast<int>(tb));
        CAPTURE(extra);
        Product product(ta, tb, extra);
        check(product);
      }
    }
  }
}

}  // namespace

TEST_CASE("A row-major product is the column-major one of its transposes, for every layout") {
  for_every_layout([](Product& product) {
    column_major_gemm(column_product(product.args), product.b.view, product.a.view,
                      product.out.view);
    for (std::int64_t i = 0; i < product.m; ++i) {
      for (std::int64_t j = 0; j < product.n; ++j) {
        REQUIRE(product.out.at(i, j) == product.expected(i, j));
      }
    }
  });
}

TEST_CASE("Rows of a product are computed from what they need, for every layout") {
  for_every_layout([](Product& product) {
    for (std::int64_t first = 0; first < product.m; first += 2) {
      const std::int64_t count = std::min<std::int64_t>(2, product.m - first);
      const MatmulArgs part = rows_of(product.args, first, count);
      CHECK(part.out.shape == Shape{count, product.n});
      column_major_gemm(column_product(part), part.b, part.a, part.out);
    }
    for (std::int64_t i = 0; i < product.m; ++i) {
      for (std::int64_t j = 0; j < product.n; ++j) {
        REQUIRE(product.out.at(i, j) == product.expected(i, j));
      }
    }
  });
}

TEST_CASE("Rows of a product take the rows of its GELU operands along") {
  Product product(Transpose::no, Transpose::no, 4);
  Matrix gelu({product.m, product.n}, 0, 0);
  product.args.gelu_of = gelu.view;
  const MatmulArgs part = rows_of(product.args, 3, 2);
  CHECK(part.gelu_of.as<float>() == &gelu.at(3, 0));
  CHECK(part.gelu_of.shape == Shape{2, product.n});
  CHECK_FALSE(part.before_gelu);
}

TEST_CASE("Alignment is a power of two and counts up to sixteen bytes") {
  alignas(64) std::byte memory[64];
  CHECK(alignment_of(memory) == 16);
  CHECK(alignment_of(memory + 48) == 16);
  CHECK(alignment_of(memory + 8) == 8);
  CHECK(alignment_of(memory + 6) == 2);
  CHECK(alignment_of(memory + 1) == 1);
}

TEST_CASE("A workspace is aligned and inside its scratch wherever that begins") {
  alignas(256) std::byte memory[1024];
  for (std::size_t at = 0; at <= 512; at += 64) {
    const View scratch{memory + at, {1, 512}, DType::u8};
    const std::byte* begin = workspace_in(scratch);
    CHECK((begin - memory) % 256 == 0);
    CHECK(begin >= scratch.data);
    CHECK(begin + workspace_size(512) <= scratch.data + 512);
  }
}

TEST_CASE("The library takes a call whose types agree and that ends in one thing") {
  alignas(16) std::byte memory[16];
  const View half{memory, {1, 8}, DType::bf16}, wide{memory, {1, 8}, DType::f32};
  const Philox bits{};
  const MatmulArgs plain{.a = half, .b = half, .out = half};
  CHECK(fits_library(plain));
  MatmulArgs args = plain;
  args.out = wide;
  CHECK(fits_library(args));
  args.bias = half;  // not the type of the result
  CHECK_FALSE(fits_library(args));
  args = plain;
  args.bias = half;
  CHECK(fits_library(args));
  CHECK(tail_of(args) == Tail::bias);
  args.gelu_of = half;
  CHECK_FALSE(fits_library(args));
  args.bias = {};
  CHECK(fits_library(args));
  CHECK(tail_of(args) == Tail::gelu_slope);
  args.gelu_of.pitch = 9;
  CHECK_FALSE(fits_library(args));
  args = plain;
  args.b = wide;
  CHECK_FALSE(fits_library(args));
  args = plain;
  args.round = &bits;
  CHECK_FALSE(fits_library(args));
  CHECK_FALSE(fits_library({.a = wide, .b = wide, .out = half}));
}

}  // namespace sherd::cuda
