"""What every gRPC server of semface shares: start-up, health, errors on the wire, limits, telemetry, shutdown.

A deployable is a list of ``Service``: a full name, the function that adds the servicer to a server, and a canary, which
is a coroutine function that runs one real inference and raises when it fails. Health stays NOT_SERVING until it has
passed. A service module offers one function that makes its list, so that ``semface serve`` runs it alone and
``semface up`` runs all on one port::

    class Codec(codec_pb2_grpc.CodecServiceServicer):
        async def Encode(self, request, context):
            values, present = unpack_all_descriptors(request.faces, "faces")
            with current_clock().inference():
                frames = await self._core.encode(values)
            return codec_pb2.EncodeResponse(frames=..., timings=current_clock().timings())

        async def EncodeStream(self, request_iterator, context):
            raise NotImplementedError  # answered with UNIMPLEMENTED

    def services(engine: Engine, settings: CodecSettings) -> list[Service]:
        codec = Codec(...)
        return [Service("semface.v1.CodecService", partial(add_CodecServiceServicer_to_server, codec), codec.canary)]

    await serve(services(engine, settings), settings, "codec")  # settings extend ServerSettings

A servicer's methods are coroutine functions (or asynchronous generators where the answer is a stream). They raise
``SemfaceError`` and never touch ``context``; everything else that they raise is a defect, answered with INTERNAL. The
servicer sees a call once it is parsed, admitted, capped in time and counted; a stream may last. In a stream, make a
``CallClock()`` for each message instead of ``current_clock()``.
"""
