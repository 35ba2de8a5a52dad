# cudnn-frontend, headers only: CUDNN_FRONTEND_INCLUDE_DIR, else the pinned wheel fetched by pip.
# Afterwards SHERD_HAS_CUDNN_FRONTEND, and then the target cudnn_frontend::headers.
set(CUDNN_FRONTEND_INCLUDE_DIR "" CACHE PATH "Folder of cudnn_frontend.h; empty: fetched when configuring")
set(version 1.32.0)
set(sha256 c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0)
set(frontend ${CUDNN_FRONTEND_INCLUDE_DIR})

if(NOT frontend)
  set(frontend ${CMAKE_BINARY_DIR}/_deps/cudnn-frontend/include)
  if(NOT EXISTS ${frontend}/cudnn_frontend.h)
    find_package(Python3 QUIET COMPONENTS Interpreter)
    if(Python3_FOUND)
      execute_process(COMMAND ${Python3_EXECUTABLE} -m pip download --quiet --disable-pip-version-check
          --retries 1 --timeout 20 --no-deps --only-binary=:all: --implementation cp --python-version 3.11
          --platform manylinux_2_28_x86_64 nvidia-cudnn-frontend==${version} -d ${CMAKE_BINARY_DIR}/_deps
        OUTPUT_QUIET ERROR_QUIET)
    endif()
    file(GLOB wheel ${CMAKE_BINARY_DIR}/_deps/nvidia_cudnn_frontend-${version}-*.whl)
    if(wheel)
      file(SHA256 ${wheel} found)
      if(NOT found STREQUAL sha256)
        message(FATAL_ERROR "${wheel}: got sha256 ${found}, need ${sha256}")
      endif()
      file(ARCHIVE_EXTRACT INPUT ${wheel} DESTINATION ${CMAKE_BINARY_DIR}/_deps/cudnn-frontend PATTERNS "include/*")
    endif()
  endif()
endif()

if(EXISTS ${frontend}/cudnn_frontend.h)
  set(SHERD_HAS_CUDNN_FRONTEND ON)
  add_library(cudnn_frontend_headers INTERFACE)
  add_library(cudnn_frontend::headers ALIAS cudnn_frontend_headers)
  target_include_directories(cudnn_frontend_headers SYSTEM INTERFACE ${frontend})
  target_compile_definitions(cudnn_frontend_headers INTERFACE CUDNN_FRONTEND_SKIP_JSON_LIB)  # the system's differs
  target_link_libraries(cudnn_frontend_headers INTERFACE CUDNN::cudnn CUDA::cudart CUDA::nvrtc)
else()
  set(SHERD_HAS_CUDNN_FRONTEND OFF)
  message(STATUS "No cudnn-frontend ${version} (no network? -DCUDNN_FRONTEND_INCLUDE_DIR=): own attention only")
endif()
